"""How much work the served boxes are for annotators, and what it costs them."""
