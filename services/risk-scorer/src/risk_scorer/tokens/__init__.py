"""What is known about the tokens of one chain: facts, changes, what their code allows, and executed checks."""

from risk_scorer.tokens.code_cache import CodeCache
from risk_scorer.tokens.codes import CodeDesk, OtherProcess
from risk_scorer.tokens.compliance import ComplianceDesk
from risk_scorer.tokens.desk import Publish, Surroundings, TokenDesk, tokens_in
from risk_scorer.tokens.shares import ShareDesk
from risk_scorer.tokens.trials import TrialDesk, Trying

__all__ = [
    "CodeCache",
    "CodeDesk",
    "ComplianceDesk",
    "OtherProcess",
    "Publish",
    "ShareDesk",
    "Surroundings",
    "TokenDesk",
    "TrialDesk",
    "Trying",
    "tokens_in",
]
