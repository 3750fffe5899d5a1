"""Libraries of Hugging Face's on N ranks: Transformers. Accelerate needs nothing of ours."""
