"""The systems that are compared: a new one is a module and a line here."""

from intra.models.controls import Majority, Oracle, Random
from intra.models.int_ra import IntRASystem

SYSTEMS = {
    "random": Random,
    "majority": Majority,
    "int_ra": IntRASystem,
    "oracle": Oracle,
}
