import keras
import pytest
import tensorflow as tf

from oip.core import frameworks


def test_frameworks_are_the_real_ones():
    assert frameworks.keras.Model is keras.Model
    assert frameworks.tf.constant is tf.constant
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = frameworks.tf.no_such_name
