"""The C types that compiled modules name in their annotations, as what they are when the module runs uncompiled."""

from builtins import bool as bint
from builtins import float as double
from builtins import int as int
from builtins import int as long
from builtins import int as ulonglong

__all__ = ["bint", "double", "int", "long", "ulonglong"]
