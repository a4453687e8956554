"""How the starter is made, and what it is worth on cells that it has not seen."""
