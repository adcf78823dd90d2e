"""What is known about the tokens of one chain: facts, what speaks against them, and what their code allows."""

from risk_scorer.tokens.codes import CodeDesk, OtherProcess
from risk_scorer.tokens.desk import Publish, Surroundings, TokenDesk, tokens_in
from risk_scorer.tokens.shares import ShareDesk

__all__ = ["CodeDesk", "OtherProcess", "Publish", "ShareDesk", "Surroundings", "TokenDesk", "tokens_in"]
