"""The HTML report: one file with its tables, pictures and plots inside, and nothing loaded from anywhere."""

from __future__ import annotations

import base64
from collections.abc import Callable
from html import escape

import cv2
import numpy as np

from vst.evaluate.pictures import AMPLIFIED, ClipPictures, Views
from vst.evaluate.plots import curves, pareto
from vst.evaluate.results import Evaluation, Row

MEANINGS = {
    "ewarp_mean@1": "warping error between neighbouring frames, as Lai's code computes it (mean over RGB)",
    "ewarp_l2@1": "the same by the formula of the paper (sum over RGB)",
    "ewarp_in@1": "the input's own ewarp_mean@1",
    "ratio": "ewarp_mean@1 over the input's own: 1 is as calm as the input; a blur lowers it, so read detail too",
    "detail": "gradient energy over the input's: below 1 it is smoother than the input",
    "per_detail": "ratio / detail: warping error for the detail that there is; 1 is the input, lower is calmer",
    "change": "mean absolute difference to the input: 0 is the identity, which wins stability by doing nothing",
    "flicker": "squared frame difference over the input's where nothing moves",
    "ewarp_mean@10": "warping error over ten frames",
    "ratio@10": "the same over the input's own",
    "e_stab": "stability error of Chen, ReCoNet, Gao: root of the mean over all pixels",
    "rmse_rerevst@1": "ReReVST's RMSE, over all pixels: compare only over the same clips",
    "tof_in": "difference between the video's own motion and the input's, pixels (TecoGAN)",
    "flicker_static": "deviation over time on a still picture with camera noise (sigma 2/255)",
    "cut_recovery_frames": "frames until the scene before a cut no longer shows, when nobody resets the memory",
    "cut_residual": "what of it never goes away",
    "patch_style": "distance of patch distributions to the style (sliced Wasserstein), no pretrained network",
    "colour_style": "distance of colour distributions to the style, CIELAB units",
    "gram": "relative distance of Gram matrices of VGG features to the style",
    "adain": "relative distance of channel statistics of VGG features to the style",
    "content_vgg": "relative distance of deep VGG features to the input",
    "sifid": "Frechet distance of shallow Inception features within single pictures to those of style pictures",
    "kid_style": "kernel distance of Inception features of the frames of all clips to the style's pictures; unbiased",
    "fid_style": "Frechet distance of the same; biased by few pictures: compare only equal numbers of them",
    "art_fid": "(1 + lpips_content) (1 + FID on ArtFID's Inception), of all clips; biased as fid_style is",
    "warp_lpips@1": "LPIPS between a frame and its warped successor where the flow is trusted",
    "warp_lpips@10": "the same over ten frames",
    "tlp_in": "100 times the difference of LPIPS between neighbouring frames from the input's own (TecoGAN)",
    "lpips_content": "LPIPS to the input",
    "ssim": "structural similarity to the input",
    "psnr": "signal-to-noise ratio to the input, dB",
}
FAMILIES = {
    "drift_": "difference between equal frames at the begin and at the end of a run of so many frames",
    "pgd@": "how many times further the result moves than the input under attack, amplitude in grey steps",
    "noise@": "the same under Gaussian noise",
    "jpeg@": "the same under JPEG compression of this quality",
    "exposure@": "the same under a change of exposure by this factor",
}
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff; margin: 2em auto; max-width: 1400px;
  padding: 0 1.5em } h1 { font-size: 1.6em } h2 { font-size: 1.25em; margin-top: 2.2em }
.scroll { overflow-x: auto } table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px }
th, td { padding: 3px 9px; text-align: right; white-space: nowrap } th:first-child, td:first-child { text-align: left;
  position: sticky; left: 0; background: #fff } thead th { border-bottom: 1px solid #999; font-weight: 600 }
tr.control td { color: #777 } tr.model td:first-child, tr.video td:first-child { font-weight: 600 }
figure { display: inline-block; margin: 0 8px 10px 0; vertical-align: top } figcaption { font-size: 12px; color: #666 }
img { display: block; max-width: 320px } h3 { font-size: 1em; margin: 1em 0 .3em } dt { font-weight: 600 }
dd { margin: 0 0 .3em 0 } dl.two { columns: 2 } svg { max-width: 100%; height: auto }
"""


def page(evaluation: Evaluation, number: Callable[[float | None], str]) -> str:
    """The whole page. `number` writes a value of the tables."""
    means, metrics = evaluation.means(), evaluation.metrics()
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>vst evaluation</title>",
        f"<style>{STYLE}</style></head><body><h1>Evaluation</h1>",
        f"<h2>Means over {len(evaluation.pictures)} clips</h2>",
        _table(means, metrics, number, "entry"),
        "<h2>Style against stability</h2>",
        _pareto(means),
    ]
    for pictures in evaluation.pictures:
        rows = [row for row in evaluation.rows if row.clip == pictures.clip]
        parts += [f"<h2>{escape(pictures.clip)}</h2>", _table(rows, metrics, number, "entry"), _clip(pictures)]
    parts += ["<h2>What the columns mean</h2>", _definitions({m: _meaning(m) for m in metrics}, "two")]
    parts += ["<h2>Not measured</h2>", _definitions(evaluation.skipped)]
    if evaluation.notes:
        parts += ["<h2>Notes</h2><ul>", *(f"<li>{escape(note)}</li>" for note in evaluation.notes), "</ul>"]
    settings = {name: _shown(value) for name, value in evaluation.settings.items()}
    parts += ["<h2>Settings</h2>", _definitions(settings), "</body></html>\n"]
    return "\n".join(parts)


def _table(rows: list[Row], metrics: list[str], number: Callable[[float | None], str], first: str) -> str:
    head = "".join(f"<th title='{escape(_meaning(name), quote=True)}'>{escape(name)}</th>" for name in metrics)
    styled, lines = any(row.style for row in rows), []
    for row in rows:
        cells = "".join(f"<td>{number(row.values.get(name))}</td>" for name in metrics)
        style = f"<td>{escape(row.style)}</td>" if styled else ""
        lines.append(f"<tr class='{row.kind}'><td>{escape(row.entry)}</td>{style}<td>{row.frames}</td>{cells}</tr>")
    names = f"<th>{first}</th>{'<th>style</th>' * styled}<th>frames</th>"
    return (
        f"<div class='scroll'><table><thead><tr>{names}{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _pareto(means: list[Row]) -> str:
    if not any("patch_style" in row.values for row in means):
        return "<p>No style was given (styles=picture or folder), so there is no style distance to plot.</p>"
    plots = [pareto(means, x, "patch_style") for x in ("per_detail", "ratio")]
    return (
        "<p>Down and to the left is better: nearer to the style, and calmer. Circles are results, hollow squares their "
        "controls, the diamond is the input. The dashed line joins the results that no other beats in both.</p>"
        + "".join(plots)
    )


def _clip(pictures: ClipPictures) -> str:
    parts = [curves(pictures.views)]
    for views in pictures.views:
        parts.append(f"<h3>{escape(views.entry)}</h3>{_figures(views)}")
    return "\n".join(parts)


def _figures(views: Views) -> str:
    count = len(views.frames)
    titles = ("middle frame",) if count == 1 else ("first frame", "middle frame", "last frame")[:count]
    shown = [
        *zip(titles, views.frames, strict=True),
        (f"warp error in the middle, {AMPLIFIED} times", views.difference),
        ("middle column over time", views.strip),
    ]
    lazy = "loading='lazy' decoding='async'"  # a page of many pictures opens at once
    return "".join(
        f"<figure><img {lazy} alt='{title}' src='{_data_url(picture)}'><figcaption>{title}</figcaption></figure>"
        for title, picture in shown
    )


def _data_url(picture: np.ndarray) -> str:
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 88])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()


def _definitions(items: dict[str, str], kind: str = "") -> str:
    body = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in items.items())
    return f"<dl class='{kind}'>{body}</dl>"


def _meaning(metric: str) -> str:
    families = (text for prefix, text in FAMILIES.items() if metric.startswith(prefix))
    return MEANINGS.get(metric) or next(families)


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {text}" for name, text in value.items()) or "none"
    return (", ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)
