import pytest
import torch
from safetensors.torch import load_file, save_file

from fewshot.errors import FewshotError
from fewshot.training.checkpoint import backbone_weights, load_facts, load_tree, load_weights, save_tree, save_weights


def test_a_tree_comes_back_as_it_was(tmp_path):
    tree = {
        "state": {0: {"step": torch.tensor(3.0), "map": torch.rand(2, 3, 4, 4).to(memory_format=torch.channels_last)}},
        "list": [1, 2.5, None, "ü", float("inf"), True, [torch.arange(3)]],
        "empty": {},
        "shared": [torch.ones(2)] * 2,
    }
    save_tree(tmp_path / "t.safetensors", tree)
    back = load_tree(tmp_path / "t.safetensors")
    assert back["list"][:6] == [1, 2.5, None, "ü", float("inf"), True]
    assert torch.equal(back["state"][0]["map"], tree["state"][0]["map"])
    assert back["state"][0]["step"] == 3
    assert back["state"][0]["step"].shape == ()
    assert torch.equal(back["list"][6][0], torch.arange(3))
    assert back["empty"] == {}
    assert torch.equal(back["shared"][1], torch.ones(2))


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "t.safetensors"
    save_tree(path, {"a": 1})
    with pytest.raises(TypeError):
        save_tree(path, {"a": object()})
    assert load_tree(path) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["t.safetensors"]


@pytest.mark.parametrize("kind", ["missing", "truncated", "text", "foreign", "pickle"])
def test_what_is_no_checkpoint_is_refused_in_one_line(tmp_path, kind):
    path = tmp_path / "t.safetensors"
    if kind == "truncated":
        save_tree(path, {"a": torch.rand(1000)})
        path.write_bytes(path.read_bytes()[:-100])
    elif kind == "text":
        path.write_text("hello")
    elif kind == "foreign":
        save_file({"a": torch.rand(3)}, path)
    elif kind == "pickle":
        torch.save({"a": 1}, path)
    with pytest.raises(FewshotError) as caught:
        load_tree(path)
    assert "t.safetensors" in str(caught.value)


def test_other_programs_find_the_weights_by_their_names(tmp_path):
    weights = {"backbone.0.weight": torch.rand(2, 3), "head.scale": torch.tensor(2.0)}
    save_weights(tmp_path / "w.safetensors", weights, {"a": 1})
    found = load_file(tmp_path / "w.safetensors")
    assert {name: w.tolist() for name, w in found.items()} == {f"weights.{n}": w.tolist() for n, w in weights.items()}


def test_a_dot_in_a_key_hides_no_tensor(tmp_path):
    tree = {"a.b": torch.zeros(1), "a": {"b": torch.ones(1)}}
    save_tree(tmp_path / "t.safetensors", tree)
    back = load_tree(tmp_path / "t.safetensors")
    assert (back["a.b"], back["a"]["b"]) == (0, 1)


@pytest.mark.parametrize("place", ["backbone.", "learner.backbone.", "algorithm.module.backbone.", "body."])
def test_the_backbone_is_found_wherever_a_learner_has_it(place):
    assert backbone_weights({f"{place}0.weight": torch.ones(1), "head.backbone.x": torch.zeros(1)}) == {"0.weight": 1}


def test_facts_are_read_without_weights(tmp_path):
    save_weights(tmp_path / "a.safetensors", {"w": torch.ones(2)}, {"config": {"head": {"scale": 2.0}}, "seen": {}})
    assert load_facts(tmp_path / "a.safetensors") == load_weights(tmp_path / "a.safetensors")[1]
    save_tree(tmp_path / "b.safetensors", {"curve": [1.0]})
    save_tree(tmp_path / "c.safetensors", [1.0])
    for name in ("b", "c"):
        with pytest.raises(FewshotError, match="holds no weights"):
            load_facts(tmp_path / f"{name}.safetensors")
