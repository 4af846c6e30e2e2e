"""The box-following curve: box fidelity over training, by pictures, not by the loss."""
