"""Templates and policies say what is asked, in the words of either product."""

import datetime
from typing import get_args

import pytest

from hids.core.alert.fields import mapped
from hids.core.alert.searchengine import Product, index_name, index_template, policy_path, retention_policy

PRODUCTS = get_args(Product)


@pytest.mark.parametrize("product", PRODUCTS)
def test_the_mapping_has_every_field_of_the_table(product: Product):
    mapping = index_template(product)["template"]["mappings"]
    assert mapping["dynamic"] is False
    for name, type_ in mapped().items():
        place = {"properties": mapping["properties"]}
        for part in name.split("."):
            place = place["properties"][part]
        flat = {"opensearch": "flat_object", "elasticsearch": "flattened"}[product]
        assert place["type"] == (flat if type_ == "flat" else type_)


@pytest.mark.parametrize("product", PRODUCTS)
def test_an_index_a_day_or_a_data_stream(product: Product):
    daily, stream = index_template(product), index_template(product, "x", data_stream=True)
    assert daily["index_patterns"] == ["hids-alerts-*"]
    assert "data_stream" not in daily
    assert stream["index_patterns"] == ["x"]
    assert stream["data_stream"] == {}


@pytest.mark.parametrize("product", PRODUCTS)
def test_nothing_is_deleted_unless_asked(product: Product):
    assert retention_policy(product) is None
    assert "delete" not in str(retention_policy(product, data_stream=True))
    assert "'30d'" in str(retention_policy(product, retention_days=30))


def test_who_deletes_in_elasticsearch_is_named_in_the_template():
    assert "index.lifecycle.name" not in index_template("elasticsearch")["template"]["settings"]
    kept = index_template("elasticsearch", retention_days=30)
    assert kept["template"]["settings"]["index.lifecycle.name"] == "hids-alerts"
    assert policy_path("elasticsearch", "hids-alerts") == "/_ilm/policy/hids-alerts"


def test_the_index_is_that_of_the_day():
    assert index_name("a", datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)) == "a-2026.01.02"
