"""One command per figure, every figure beside its peer in the same run: `python -m bench list` knows them all."""
