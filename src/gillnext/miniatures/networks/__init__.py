"""The demo's small networks as they are read and run. None knows the drawn world: names come with the weights."""
