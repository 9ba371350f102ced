"""One view of any Keras model: loading, layers, geometry, inputs, responses."""
