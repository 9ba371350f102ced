from oip.cli.reconstruct import print_summary


def told(maps, unseen=0, **changes):
    """A summary of layers with so many maps each."""
    one = {
        "verdict": "responsive",
        "provably_dead": False,
        "score": 2.0,
        "data_score": 1.0,
        "data_active": 0.5,
        "stability": 0.4,
        "null_percentile": None,
        "patterns": 2,
        "medoids": [0, 3],
        "steps": 24,
        "reason": "budget",
        **changes,
    }
    layers = [
        {
            "layer": f"layer{place}",
            "index": place,
            "pixels": 784,
            "unseen_pixels": unseen,
            "maps": [{"map": number, **one} for number in range(count)],
        }
        for place, count in enumerate(maps)
    ]
    return {"run": "run", "seconds": 1.0, "layers": layers}


def test_pixels_that_a_layer_does_not_see_are_told(capsys):
    print_summary(told([2], unseen=108))
    assert "layer0 sees 676 of 784 pixels" in capsys.readouterr().out
    print_summary(told([2]))
    assert "pixels" not in capsys.readouterr().out


def test_maps_are_listed_for_one_layer_for_few_maps_and_on_request(capsys):
    for maps, details, listed in (
        ([40], False, True),
        ([12, 12], False, True),
        ([12, 13], False, False),
        ([12, 13], True, True),
    ):
        print_summary(told(maps), details)
        out = capsys.readouterr().out
        assert ("medoids" in out) is listed
        assert out.count("budget") == (sum(maps) if listed else 0)
        assert ("0, 3" in out) is listed
