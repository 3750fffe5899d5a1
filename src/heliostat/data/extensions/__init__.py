"""Columns of tensors and of any objects, in Arrow and pandas, under Ray's names; `ray.data.extensions`.

Data needs none of this: arrays become tensors by themselves. It is for programs that say their types.
"""

from heliostat.data.extensions._arrow import (
    ArrowConversionError,
    ArrowTensorArray,
    ArrowTensorType,
    ArrowTensorTypeV2,
    ArrowVariableShapedTensorArray,
    ArrowVariableShapedTensorType,
    FixedShapeTensorFormat,
    FixedShapeTensorType,
    create_arrow_fixed_shape_tensor_type,
    get_arrow_extension_tensor_types,
)
from heliostat.data.extensions._objects import (
    ArrowPythonObjectArray,
    ArrowPythonObjectScalar,
    ArrowPythonObjectType,
    PythonObjectArray,
    PythonObjectDtype,
)
from heliostat.data.extensions._pandas import (
    TensorArray,
    TensorArrayElement,
    TensorDtype,
    column_needs_tensor_extension,
)

__all__ = [
    "ArrowConversionError",
    "ArrowPythonObjectArray",
    "ArrowPythonObjectScalar",
    "ArrowPythonObjectType",
    "ArrowTensorArray",
    "ArrowTensorType",
    "ArrowTensorTypeV2",
    "ArrowVariableShapedTensorArray",
    "ArrowVariableShapedTensorType",
    "FixedShapeTensorFormat",
    "FixedShapeTensorType",
    "PythonObjectArray",
    "PythonObjectDtype",
    "TensorArray",
    "TensorArrayElement",
    "TensorDtype",
    "column_needs_tensor_extension",
    "create_arrow_fixed_shape_tensor_type",
    "get_arrow_extension_tensor_types",
]
