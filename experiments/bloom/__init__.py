"""BLOOM and BLOOMZ: a small multilingual model on real text, then multitask fine-tuning."""
