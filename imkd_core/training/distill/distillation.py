# SPDX-License-Identifier: Apache-2.0
"""How the student listens to the teachers: adaptors, terms, weights and guard (method.md 5).

Everything here belongs to training. The student has no part of it, so neither has its file.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from imkd_core.errors import DataError
from imkd_core.model.adaptors import Adaptor, taught_channels
from imkd_core.model.student import StudentOutput
from imkd_core.recipe import Config
from imkd_core.training.distill.gradient_guard import GradientGuard
from imkd_core.training.distill.losses import (
    cell_distance,
    codes_at,
    doppler_loss,
    gate_loss,
    radar_guidance_weight,
    response_box_loss,
    response_class_loss,
    swapped_label_weight,
    taught_intensity,
    total_weight,
    weighted_mean,
)
from imkd_core.training.distill.weights import base_weights, scheduled_weights
from imkd_core.training.losses import LossTerms

#: What a batch must hold for each term, besides the detection targets.
NEEDED = {
    "lidar_to_radar": ("f_lidar", "i_lidar", "label_mask", "radar_occupied"),
    "lidar_to_fused": ("f_lidar", "i_lidar", "label_mask"),
    "label_to_fused": ("f_label", "i_lidar", "label_mask"),
    "response_class": ("heat_teacher",),
    "response_box": ("code_teacher", "code_teacher_weight"),
    "gate": ("label_mask", "radar_occupied"),
    "doppler": ("doppler",),
}

#: Also needed by the terms that come from LiDAR or from the label teacher.
NEEDED_BY_TEACHERS = ("has_lidar", "teacher_quality")

_FROM_TEACHERS = frozenset(NEEDED) - {"gate", "doppler"}


class Taught(NamedTuple):
    """What the teachers say about a batch, as the terms use it.

    Attributes:
        targets: of the batch, by name.
        radar_mask: 0 where a sample's radar was taken away.
        lidar_weight: 0 without LiDAR, less than 1 where the teacher is poor.
        intensity: I_L, raised inside boxes that LiDAR saw.
        objects: how many true objects there are.
        code: the student's box code at each object's cell; None where no term asks for it.
    """

    targets: Mapping[str, Tensor]
    radar_mask: Float[Tensor, " B"]
    lidar_weight: Float[Tensor, " B"]
    intensity: Float[Tensor, "B Y X"] | None
    objects: Float[Tensor, ""]
    code: Float[Tensor, "B M C"] | None


class Distillation(nn.Module):
    """The terms that are switched on, their adaptors and their guard.

    Args:
        config: `distill` names the terms; `model` and `teacher` the widths of the maps.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self._config = config
        self.terms = tuple(base_weights(config))
        widths = {
            "lidar_to_radar": config.model.radar_channels,
            "lidar_to_fused": config.model.fused_channels,
            "label_to_fused": config.model.fused_channels,
        }
        taught = taught_channels(config)
        signed, blocks = taught < config.teacher.channels, config.distill.adaptor_blocks
        self.adaptors = nn.ModuleDict(
            {
                term: Adaptor(width, taught, signed, blocks)
                for term, width in widths.items()
                if term in self.terms
            }
        )
        self.guard = GradientGuard(self.terms, config.distill)

    def forward(
        self,
        output: StudentOutput,
        radar_mask: Float[Tensor, "B 1"],
        targets: Mapping[str, Tensor],
        detection: LossTerms,
        step: int,
    ) -> LossTerms:
        """Return the terms of a batch with their weights at a step.

        Args:
            output: the student's maps.
            radar_mask: of the student's inputs.
            targets: what the losses are given, by name.
            detection: the terms that the guard compares with.
            step: optimiser steps done before.

        Raises:
            DataError: the batch lacks what a term needs.
        """
        if not self.terms:
            return LossTerms(values={}, weights={})
        taught = self._taught(output, radar_mask, targets)
        values = {term: getattr(self, f"_{term}")(output, taught) for term in self.terms}
        factors = self.guard.factors()
        scheduled = scheduled_weights(self._config, step)
        terms = LossTerms(
            values=values,
            weights={term: scheduled[term] * factors[term] for term in self.terms},
        )
        if self.guard.is_due(step):
            weighted = {term: terms.weights[term] * values[term] for term in self.terms}
            self.guard.check(weighted, detection.total(), output.fused_bev)
        return terms

    def _taught(
        self, output: StudentOutput, radar_mask: Tensor, targets: Mapping[str, Tensor]
    ) -> Taught:
        self._require(targets)
        distill, mask = self._config.distill, radar_mask[:, 0].float()
        lidar_weight, intensity = torch.ones_like(mask), None
        if "has_lidar" in targets:
            lidar_weight = targets["has_lidar"][:, 0].float()
            if distill.teacher_quality:
                lidar_weight = lidar_weight * targets["teacher_quality"][:, 0].clamp(0, 1)
        if "i_lidar" in targets:
            intensity = taught_intensity(
                targets["i_lidar"],
                targets["label_mask"],
                distill.object_floor,
                self._config.intensity.minimum,
            )
        objects = (targets["code_weight"].sum(-1) > 0).sum().float()
        code = None
        if {"response_box", "doppler"} & set(self.terms):
            code = codes_at(output.codes, targets["cell"], targets["task"])
        return Taught(targets, mask, lidar_weight, intensity, objects, code)

    def _require(self, targets: Mapping[str, Tensor]) -> None:
        needed = {name for term in self.terms for name in NEEDED[term]}
        if _FROM_TEACHERS & set(self.terms):
            needed.update(NEEDED_BY_TEACHERS)
        missing = sorted(needed - targets.keys())
        if missing:
            raise DataError(
                f"the samples lack {', '.join(missing)}, which the distillation needs; train the "
                "teachers first and pass --teacher and --labels, or use the preset 'none'"
            )

    def _distance(self, term: str, student_map: Tensor, target: Tensor) -> Tensor:
        adapted: Tensor = self.adaptors[term](student_map)
        return cell_distance(
            adapted, target, self._config.teacher.channels, self._config.distill.huber
        )

    def _lidar_to_radar(self, output: StudentOutput, taught: Taught) -> Tensor:
        """Return L_L2R: the radar's map, before its gate, is asked for I_L * F_L (5.3)."""
        targets, intensity = taught.targets, _present(taught.intensity)
        target = intensity[:, None] * targets["f_lidar"]
        weight = torch.ones_like(intensity)
        if self._config.distill.l2r_form == "masked":
            weight = radar_guidance_weight(
                intensity, targets["radar_occupied"], targets["label_mask"]
            )
        distance = self._distance("lidar_to_radar", output.radar_bev, target)
        sample_weight = taught.lidar_weight * taught.radar_mask
        return weighted_mean(distance, weight, total_weight(weight), sample_weight)

    def _lidar_to_fused(self, output: StudentOutput, taught: Taught) -> Tensor:
        """Return L_L2F: the fused map is asked for F_L, weighted by I_L (5.4)."""
        weight = _present(taught.intensity)
        distance = self._distance("lidar_to_fused", output.fused_bev, taught.targets["f_lidar"])
        return weighted_mean(distance, weight, total_weight(weight), taught.lidar_weight)

    def _label_to_fused(self, output: StudentOutput, taught: Taught) -> Tensor:
        """Return L_lab: the fused map is asked for F_lab, weighted by M (5.5, 12.10)."""
        mask = taught.targets["label_mask"]
        weight = mask
        if self._config.distill.reliability_swap:
            weight = swapped_label_weight(mask, taught.targets["i_lidar"])
        f_label = taught.targets["f_label"]
        is_taught = (f_label != 0).flatten(1).any(1)  # a sample without maps has zeros
        distance = self._distance("label_to_fused", output.fused_bev, f_label)
        return weighted_mean(distance, weight, total_weight(mask, 1.0), is_taught.float())

    def _response_class(self, output: StudentOutput, taught: Taught) -> Tensor:
        """Return the class part of L_resp (5.6)."""
        return response_class_loss(
            output.heatmap_logits,
            taught.targets["heat_teacher"],
            taught.targets["heatmap"],
            taught.objects,
            taught.lidar_weight,
            self._config.distill.response_form,
        )

    def _response_box(self, _output: StudentOutput, taught: Taught) -> Tensor:
        """Return the box part of L_resp (5.6)."""
        targets = taught.targets
        confidence = targets["code_teacher_weight"]
        if self._config.distill.response_form == "ld_exact":
            confidence = (targets["code_weight"].sum(-1) > 0).float()
        return response_box_loss(
            _present(taught.code),
            targets["code_teacher"],
            confidence * (taught.lidar_weight > 0)[:, None],
            taught.lidar_weight,
            self._config.train.velocity_weight,
        )

    def _gate(self, output: StudentOutput, taught: Taught) -> Tensor:
        """Return the supervision of both gates (3.4): objects, and returns on objects."""
        mask = taught.targets["label_mask"].float()
        occupied = taught.targets["radar_occupied"].float() * taught.radar_mask[:, None, None]
        camera = gate_loss(output.i_cam, mask, 1 - mask)
        radar = gate_loss(output.i_rad, occupied * mask, occupied * (1 - mask))
        return camera + radar

    def _doppler(self, _output: StudentOutput, taught: Taught) -> Tensor:
        """Return the radial-velocity term (12.4)."""
        return doppler_loss(_present(taught.code), taught.targets["doppler"])


def _present(value: Tensor | None) -> Tensor:
    if value is None:
        raise DataError("the samples lack i_lidar")  # `_require` has named it before
    return value
