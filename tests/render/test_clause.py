"""Texts in clauses: names say their cluster where the name before them is in another one."""

from __future__ import annotations

import pytest

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Gpu
from foreshock_dashboard.render.clause import Clause, Text, in_words, joined_text, listed, place, text, with_clusters
from foreshock_dashboard.render.units import gpu_list

CART, WEB, CHAT = Service("eu//shop", "cart"), Service("eu//shop", "web"), Service("us//", "chat")


def gpus(*hosts: str) -> Clause:
    """The first GPU of each host."""
    found = [Gpu(host, "0", "") for host in hosts]
    return Clause(gpu_list(found), "gpus", gpus=tuple(gpu.label for gpu in found))


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (text(CART, " waits on ", WEB), "shop/cart in eu waits on shop/web"),
        (text(CART, " calls ", CHAT, ", as ", WEB), "shop/cart in eu calls chat in us, as shop/web in eu"),
        (text(CART, " calls ", Service("shop", "db")), "shop/cart in eu calls shop/db (no cluster)"),
        (text(CART, " on ", gpus("eu//h1", "eu//h2")), "shop/cart in eu on h1/gpu-0 and h2/gpu-0"),
        (text(gpus("eu//h1", "us//h2"), " of ", CART), "h1/gpu-0 and h2/gpu-0 in eu and us of shop/cart in eu"),
        (text(gpus("eu//h1", "prod-eu//h2")), "h1/gpu-0 and h2/gpu-0 in eu and prod-eu"),
        (text(CART, " on ", gpus("h1")), "shop/cart in eu on h1/gpu-0 (no cluster)"),
        (text("Drain ", place("us//h1:9000")), "Drain h1:9000 in us"),
        (listed((CART, WEB, CHAT, CHAT), 2), "shop/cart in eu, shop/web and 2 more"),
        (text(Service("shop", "cart"), " on ", gpus("h1"), " of ", place("pool-1")), "shop/cart on h1/gpu-0 of pool-1"),
    ],
)
def test_a_name_says_its_cluster_where_the_name_before_is_in_another_one(said: Text, words: str) -> None:
    assert joined_text(said) == words


def test_a_known_cluster_is_not_said_again() -> None:
    assert joined_text(text(CART, " calls ", CHAT), "eu") == "shop/cart calls chat in us"


def test_the_cluster_is_beside_the_link_and_places_are_words() -> None:
    assert with_clusters(text(CART, " on ", place("eu//h1"))) == (
        Clause("shop/cart", "service", ("eu//shop/cart",)),
        Clause(" in eu on h1"),
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("eu//shop/cart", "shop/cart in eu"),
        ("arn:aws:eks:eu:1:cluster/prod//cart", "cart in arn:aws:eks:eu:1:cluster/prod"),
        ("eu//a -> us//b", "a in eu -> b in us"),
        ("eu//a waiting on eu//b, eu//h/gpu-0", "a in eu waiting on b, h/gpu-0"),
        ("eu//shop/a on eu//h/gpu-0", "shop/a in eu on h/gpu-0"),
        ("eu//a waits on ml/b", "a in eu waits on ml/b (no cluster)"),
        ("my cluster//shop/a", "shop/a in my cluster"),
        ("shop/cart", "shop/cart"),
    ],
)
def test_names_alone_say_their_cluster_behind_them(name: str, words: str) -> None:
    assert in_words(name) == words
