"""From a table to a champion model: steps compute, flows order, the modules beside them touch the world."""
