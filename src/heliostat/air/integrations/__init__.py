"""Where Ray has its callbacks for Comet, Keras, MLflow and Weights & Biases; ours are elsewhere."""
