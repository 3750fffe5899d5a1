"""Preprocessors: scalers, encoders, imputers and their like, fitted on datasets."""

from heliostat.data.preprocessors.chain import Chain
from heliostat.data.preprocessors.concatenator import Concatenator
from heliostat.data.preprocessors.discretizer import (
    CustomKBinsDiscretizer,
    UniformKBinsDiscretizer,
)
from heliostat.data.preprocessors.encoder import (
    Categorizer,
    LabelEncoder,
    MultiHotEncoder,
    OneHotEncoder,
    OrdinalEncoder,
)
from heliostat.data.preprocessors.imputer import SimpleImputer
from heliostat.data.preprocessors.normalizer import Normalizer
from heliostat.data.preprocessors.scaler import (
    MaxAbsScaler,
    MinMaxScaler,
    RobustScaler,
    StandardScaler,
)
from heliostat.data.preprocessors.torch import TorchVisionPreprocessor
from heliostat.data.preprocessors.transformer import PowerTransformer
from heliostat.data.preprocessors.vectorizer import (
    CountVectorizer,
    FeatureHasher,
    HashingVectorizer,
    Tokenizer,
)

__all__ = [
    "Categorizer",
    "Chain",
    "Concatenator",
    "CountVectorizer",
    "CustomKBinsDiscretizer",
    "FeatureHasher",
    "HashingVectorizer",
    "LabelEncoder",
    "MaxAbsScaler",
    "MinMaxScaler",
    "MultiHotEncoder",
    "Normalizer",
    "OneHotEncoder",
    "OrdinalEncoder",
    "PowerTransformer",
    "RobustScaler",
    "SimpleImputer",
    "StandardScaler",
    "Tokenizer",
    "TorchVisionPreprocessor",
    "UniformKBinsDiscretizer",
]
