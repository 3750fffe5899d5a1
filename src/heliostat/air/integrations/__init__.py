"""Where Ray has its callbacks for MLflow and Weights & Biases; ours are in `tune.integration`."""
