"""What Hydra finds by itself: a launcher that runs the jobs of a sweep on Ray, and a sweeper that asks Optuna for them."""
