"""How good a model is against float: marks, their intervals, and the passes that give them."""
