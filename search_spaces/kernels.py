"""Passes over channels-last maps, compiled for the CPU at hand: norm, rectifier and pooling at once; moments.

Each map is read three times while it lies in the cache; separate layers would each write and read all maps of a chunk.
This module is imported only when a CPU runs such a network, because numba is slow to import, and takes seconds to
compile what it then keeps on disk. Channels are the last dimension; an array without rows stands for an output that is
not wanted.
"""

from collections.abc import Callable

import numba
import numpy as np

# nogil: chunks run in parallel threads. fastmath: sums may be reordered for vector units; NaN and infinity are kept.
_compiled: Callable[[Callable], Callable] = numba.njit(
    nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"}
)


@_compiled
def rectified_norm(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    slope: float,
    eps: float,
    activation: np.ndarray,
    pooled: np.ndarray,
    mean: np.ndarray,
    inverse: np.ndarray,
) -> None:
    """Fill `activation` and `pooled`, and every map's `mean` and `inverse`, one over its deviation, each `[n, c]`.

    Args:
        x: maps, `[n * h, w, c]`, of n images.
        weight: factor of every channel, `[c]`.
        bias: what is added after the factor, `[c]`.
        slope: what negative values are multiplied by: 0 for ReLU, 1 for none.
        eps: added to the variance.
        activation: the rectified maps, `[n * h, w, c]`, or without rows.
        pooled: their means over 2 x 2 pixels, `[n * h / 2, w / 2, c]`, or without rows.
        mean: written.
        inverse: written.
    """
    images, channels = mean.shape
    height, width = x.shape[0] // images, x.shape[1]
    two_rows = np.empty((2, width, channels), x.dtype)
    scale, leak = np.empty(channels, x.dtype), x.dtype.type(slope)
    for image in range(images):
        top = image * height
        _moments(x, top, top + height, eps, mean[image], inverse[image])
        for k in range(channels):
            scale[k] = inverse[image, k] * weight[k]
        for row in range(top, top + height, 2):
            target, at = (activation, row) if len(activation) else (two_rows, 0)
            for ahead in range(min(2, top + height - row)):
                _rectify(x[row + ahead], mean[image], scale, bias, leak, target[at + ahead])
            if len(pooled):
                _average(target[at], target[at + 1], pooled[row // 2])


@_compiled
def rectified_norm_gradient(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    slope: float,
    mean: np.ndarray,
    inverse: np.ndarray,
    of_activation: np.ndarray,
    of_pooled: np.ndarray,
    of_x: np.ndarray,
    of_weight: np.ndarray,
    of_bias: np.ndarray,
) -> None:
    """Fill the gradients `of_x`, and `of_weight` and `of_bias` of every image, `[n, c]`.

    `of_activation` and `of_pooled` are the gradients of what `rectified_norm` fills, without rows where there is none.
    """
    images, channels = mean.shape
    height, width = x.shape[0] // images, x.shape[1]
    scale, along, offset = np.empty(channels, x.dtype), np.empty(channels, x.dtype), np.empty(channels, x.dtype)
    leak = x.dtype.type(slope)
    for image in range(images):
        rows = range(image * height, (image + 1) * height)
        of_weight[image] = 0
        of_bias[image] = 0
        for row in rows:
            _incoming(row, of_activation, of_pooled, of_x[row])
            _through_rectifier(
                x[row], mean[image], inverse[image], weight, bias, leak, of_x[row], of_weight[image], of_bias[image]
            )
        for k in range(channels):
            scale[k] = inverse[image, k] * weight[k]
            along[k] = of_weight[image, k] / (height * width) * inverse[image, k]
            offset[k] = of_bias[image, k] / (height * width)
        for row in rows:
            for column in range(width):
                for k in range(channels):
                    apart = x[row, column, k] - mean[image, k]
                    of_x[row, column, k] = (of_x[row, column, k] - offset[k] - apart * along[k]) * scale[k]


@_compiled
def powers(maps: np.ndarray, mean: np.ndarray, square: np.ndarray) -> None:
    """Fill `mean` and `square`, `[n, c]`, with means over pixels of `maps`, `[n, pixels, c]`, and of their squares."""
    mean[:] = 0
    square[:] = 0
    images, pixels, channels = maps.shape
    for image in range(images):
        for pixel in range(pixels):
            for k in range(channels):
                value = maps[image, pixel, k]
                mean[image, k] += value
                square[image, k] += value * value
        for k in range(channels):
            mean[image, k] /= pixels
            square[image, k] /= pixels


def check() -> None:
    """Compile the passes for float32, or load them from disk. Raises whatever the compiler raises."""
    maps, images, channels, none = (np.zeros(s, np.float32) for s in ((2, 2, 1), (1, 1), (1,), (0, 1, 1)))
    rectified_norm(maps, channels, channels, 0.0, 1e-5, maps.copy(), none, images, images.copy())
    known = (maps, channels, channels, 0.0, images, images.copy())
    rectified_norm_gradient(*known, maps.copy(), none, maps.copy(), images.copy(), images.copy())
    powers(maps, maps[:, 0].copy(), maps[:, 0].copy())


@_compiled
def _moments(x: np.ndarray, top: int, bottom: int, eps: float, mean: np.ndarray, inverse: np.ndarray) -> None:
    """Mean and one over the deviation. The mean is subtracted before squaring, to keep digits of near-constant maps."""
    pixels = (bottom - top) * x.shape[1]
    mean[:] = 0
    inverse[:] = 0
    for row in range(top, bottom):
        for column in range(x.shape[1]):
            for k in range(len(mean)):
                mean[k] += x[row, column, k]
    for k in range(len(mean)):
        mean[k] /= pixels
    for row in range(top, bottom):
        for column in range(x.shape[1]):
            for k in range(len(mean)):
                apart = x[row, column, k] - mean[k]
                inverse[k] += apart * apart
    for k in range(len(mean)):
        inverse[k] = 1 / np.sqrt(inverse[k] / pixels + eps)


@_compiled
def _rectify(
    x: np.ndarray, mean: np.ndarray, scale: np.ndarray, bias: np.ndarray, leak: np.floating, out: np.ndarray
) -> None:
    """A row of pixels, `[w, c]`, normalised and rectified."""
    for column in range(x.shape[0]):
        for k in range(x.shape[1]):
            value = (x[column, k] - mean[k]) * scale[k] + bias[k]
            out[column, k] = value if value > 0 else value * leak


@_compiled
def _average(upper: np.ndarray, lower: np.ndarray, out: np.ndarray) -> None:
    """Two rows of pixels as one row of means over 2 x 2 pixels."""
    quarter = upper.dtype.type(0.25)
    for column in range(out.shape[0]):
        for k in range(out.shape[1]):
            pairs = upper[2 * column, k] + upper[2 * column + 1, k] + lower[2 * column, k] + lower[2 * column + 1, k]
            out[column, k] = pairs * quarter


@_compiled
def _incoming(row: int, of_activation: np.ndarray, of_pooled: np.ndarray, out: np.ndarray) -> None:
    """The gradient of a row of rectified maps: its own, plus a quarter of that of the means that it went into."""
    if len(of_activation):
        for column in range(out.shape[0]):
            for k in range(out.shape[1]):
                out[column, k] = of_activation[row, column, k]
    else:
        out[:] = 0
    if len(of_pooled):
        quarter = out.dtype.type(0.25)
        for column in range(out.shape[0]):
            for k in range(out.shape[1]):
                out[column, k] += of_pooled[row // 2, column // 2, k] * quarter


@_compiled
def _through_rectifier(
    x: np.ndarray,
    mean: np.ndarray,
    inverse: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    leak: np.floating,
    gradient: np.ndarray,
    of_weight: np.ndarray,
    of_bias: np.ndarray,
) -> None:
    """Take a row's gradient back through the rectifier, in place, and add its share to those of weight and bias."""
    for column in range(x.shape[0]):
        for k in range(x.shape[1]):
            normal = (x[column, k] - mean[k]) * inverse[k]
            value = gradient[column, k]
            if not normal * weight[k] + bias[k] > 0:
                value *= leak
            gradient[column, k] = value
            of_weight[k] += value * normal
            of_bias[k] += value
