"""How the loop learns: when a run starts, what it learns from, how it is judged and served."""
