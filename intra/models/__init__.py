"""The systems that are compared: a new one is a module and a line here."""

from intra.models.controls import Majority, Oracle, Random
from intra.models.int_ra import IntRASystem
from intra.models.int_ra_plus import IntRAPlusSystem
from intra.models.released import ReleasedIntRA

SYSTEMS = {
    "random": Random,
    "majority": Majority,
    "int_ra": IntRASystem,
    "int_ra_plus": IntRAPlusSystem,
    "released": ReleasedIntRA,
    "oracle": Oracle,
}
