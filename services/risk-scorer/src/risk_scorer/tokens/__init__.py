"""What is known about the tokens of one chain: facts, what speaks against them, and what their code allows."""

from risk_scorer.tokens.codes import CodeDesk, OtherProcess
from risk_scorer.tokens.desk import Publish, Surroundings, TokenDesk, tokens_in

__all__ = ["CodeDesk", "OtherProcess", "Publish", "Surroundings", "TokenDesk", "tokens_in"]
