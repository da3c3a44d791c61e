# SPDX-License-Identifier: Apache-2.0
"""The bird's-eye-view grid: metres in the ego frame <-> (row, column).

The only module that knows that rows are y and columns are x: a BEV map is `[..., Y, X]`,
row 0 holds the smallest y and column 0 the smallest x (method.md 2).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imkd_core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class BevGrid:
    """A rectangular grid of square cells in the xy plane of the ego frame.

    The range is half open: a point at `x_max_m` lies outside.

    Raises:
        ConfigError: a range is empty, not finite, or no whole number of cells.
    """

    x_min_m: float
    x_max_m: float
    y_min_m: float
    y_max_m: float
    cell_m: float

    def __post_init__(self) -> None:
        """Refuse a grid that has no whole number of cells."""
        if not 0 < self.cell_m < np.inf:
            raise ConfigError(f"bev.cell_m must be a positive number of metres, got {self.cell_m}")
        for axis, low, high in (
            ("x", self.x_min_m, self.x_max_m),
            ("y", self.y_min_m, self.y_max_m),
        ):
            cells = (high - low) / self.cell_m
            if not np.isfinite(cells) or round(cells) < 1 or abs(cells - round(cells)) > 1e-6:
                raise ConfigError(
                    f"bev.{axis}_min_m..{axis}_max_m = {low}..{high} must hold a whole number of "
                    f"cells of {self.cell_m} m"
                )

    @property
    def columns(self) -> int:
        """Cells along x (the width X of a map)."""
        return round((self.x_max_m - self.x_min_m) / self.cell_m)

    @property
    def rows(self) -> int:
        """Cells along y (the height Y of a map)."""
        return round((self.y_max_m - self.y_min_m) / self.cell_m)

    @property
    def shape(self) -> tuple[int, int]:
        """(Y, X) of a map on this grid."""
        return self.rows, self.columns

    @property
    def cells(self) -> int:
        """Number of cells."""
        return self.rows * self.columns

    def refined(self, factor: int) -> "BevGrid":
        """Return the same range with cells `factor` times smaller."""
        return BevGrid(
            x_min_m=self.x_min_m,
            x_max_m=self.x_max_m,
            y_min_m=self.y_min_m,
            y_max_m=self.y_max_m,
            cell_m=self.cell_m / factor,
        )

    def fractional_index(self, xy_m: ArrayLike) -> NDArray[np.float64]:
        """Return (..., 2) positions as (row, column); a cell's centre is a whole number."""
        xy = np.asarray(xy_m, dtype=np.float64)
        column = (xy[..., 0] - self.x_min_m) / self.cell_m - 0.5
        row = (xy[..., 1] - self.y_min_m) / self.cell_m - 0.5
        return np.stack([row, column], axis=-1)

    def cell_index(self, xy_m: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return (..., 2) cells as (row, column) by floor, and (...,) which lie inside.

        Floor and then a range test: truncation would fold (-1, 0) into cell 0 (method.md 3.1).
        """
        xy = np.asarray(xy_m, dtype=np.float64)
        row = np.floor((xy[..., 1] - self.y_min_m) / self.cell_m)
        column = np.floor((xy[..., 0] - self.x_min_m) / self.cell_m)
        inside = (row >= 0) & (row < self.rows) & (column >= 0) & (column < self.columns)
        indices = np.stack([row, column], axis=-1)
        # Far points and NaN have no whole number; the limits keep what lies outside outside.
        bounded = np.clip(np.nan_to_num(indices, nan=-1.0), -1, max(self.shape))
        return bounded.astype(np.int64), np.asarray(inside)

    def centers(self) -> NDArray[np.float64]:
        """Return the (Y, X, 2) cell centres as (x, y) in metres."""
        x = self.x_min_m + (np.arange(self.columns) + 0.5) * self.cell_m
        y = self.y_min_m + (np.arange(self.rows) + 0.5) * self.cell_m
        return np.stack(np.meshgrid(x, y), axis=-1)
