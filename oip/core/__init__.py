"""The ground floor: errors, files, seeds, units, figures. No TensorFlow here."""
