"""Priority and fairness: whose requests run, whose wait, whose are refused when there are too many."""
