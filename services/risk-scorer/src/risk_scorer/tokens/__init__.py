"""What is known about tokens: what the node says of them, and what trading them in simulated blocks shows."""

from risk_scorer.tokens.desk import Publish, Surroundings, TokenDesk, tokens_in
from risk_scorer.tokens.trials import TrialDesk, Trying

__all__ = ["Publish", "Surroundings", "TokenDesk", "TrialDesk", "Trying", "tokens_in"]
