"""The systems that are compared: a new one is a module and a line here."""

from intra.models.bm25 import BM25
from intra.models.classifier import IntentionClassifier, ToldClassifier
from intra.models.clip import CLIPSystem, ZeroShotCLIP
from intra.models.controls import BlindReader, Majority, Oracle, Prior, Random
from intra.models.int_ra import IntRASystem
from intra.models.int_ra_plus import IntRAPlusSystem
from intra.models.irra import IRRASystem
from intra.models.lgur import LGURSystem
from intra.models.mod import MODSystem
from intra.models.pcme import PCMESystem
from intra.models.released import ReleasedIntRA
from intra.models.srs import SRSSystem
from intra.models.text_retrieval import TextRetrieval

SYSTEMS = {
    "random": Random,
    "majority": Majority,
    "prior": Prior,
    "bm25": BM25,
    "text_retrieval": TextRetrieval,
    "intention_classifier": IntentionClassifier,
    "told_classifier": ToldClassifier,
    "blind_reader": BlindReader,
    "srs": SRSSystem,
    "mod": MODSystem,
    "lgur": LGURSystem,
    "irra": IRRASystem,
    "pcme": PCMESystem,
    "clip_zero_shot": ZeroShotCLIP,
    "clip": CLIPSystem,
    "int_ra": IntRASystem,
    "int_ra_plus": IntRAPlusSystem,
    "released": ReleasedIntRA,
    "oracle": Oracle,
}
