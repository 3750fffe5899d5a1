"""Eight of the questions in verbs of a Dataset; each gives what its query gives."""

from collections.abc import Callable, Mapping
from datetime import date

import pyarrow as pa

from heliostat.data import Dataset
from heliostat.data.aggregate import Count, Mean, Sum
from heliostat.data.expressions import Expr, col, lit, when

Tables = Mapping[str, Dataset]


def number(column: str) -> Expr:
    """A column of prices as floats."""
    return col(column).cast(pa.float64())


REVENUE = number("l_extendedprice") * (1.0 - number("l_discount"))


def pricing_summary(t: Tables) -> Dataset:
    lines = t["lineitem"].filter(expr=col("l_shipdate") <= lit(date(1998, 9, 2)))
    lines = lines.with_columns({"disc_price": REVENUE, "tax": 1.0 + number("l_tax")})
    lines = lines.with_column("charge", col("disc_price") * col("tax"))
    groups = lines.groupby(["l_returnflag", "l_linestatus"]).aggregate(
        Sum("l_quantity", alias_name="sum_qty"),
        Sum("l_extendedprice", alias_name="sum_base_price"),
        Sum("disc_price", alias_name="sum_disc_price"),
        Sum("charge", alias_name="sum_charge"),
        Mean("l_quantity", alias_name="avg_qty"),
        Mean("l_extendedprice", alias_name="avg_price"),
        Mean("l_discount", alias_name="avg_disc"),
        Count(alias_name="count_order"),
    )
    return groups.sort(["l_returnflag", "l_linestatus"])


def shipping_priority(t: Tables) -> Dataset:
    day = lit(date(1995, 3, 15))
    buyers = t["customer"].filter(expr=col("c_mktsegment") == "BUILDING")
    orders = t["orders"].filter(expr=col("o_orderdate") < day)
    lines = t["lineitem"].filter(expr=col("l_shipdate") > day).with_column("revenue", REVENUE)
    wanted = orders.join(buyers, "left_semi", on="o_custkey", right_on="c_custkey")
    both = lines.join(wanted, "inner", on="l_orderkey", right_on="o_orderkey")
    keys = ["l_orderkey", "o_orderdate", "o_shippriority"]
    sums = both.groupby(keys).aggregate(Sum("revenue", alias_name="revenue"))
    first = sums.sort(["revenue", "o_orderdate"], descending=[True, False]).limit(10)
    return first.select_columns(["l_orderkey", "revenue", "o_orderdate", "o_shippriority"])


def order_priority(t: Tables) -> Dataset:
    quarter = col("o_orderdate").between(lit(date(1993, 7, 1)), lit(date(1993, 9, 30)))
    late = t["lineitem"].filter(expr=col("l_commitdate") < col("l_receiptdate"))
    orders = t["orders"].filter(expr=quarter)
    orders = orders.join(late, "left_semi", on="o_orderkey", right_on="l_orderkey")
    counts = orders.groupby("o_orderpriority").aggregate(Count(alias_name="order_count"))
    return counts.sort("o_orderpriority")


def local_suppliers(t: Tables) -> Dataset:
    year = col("o_orderdate").between(lit(date(1994, 1, 1)), lit(date(1994, 12, 31)))
    asia = t["region"].filter(expr=col("r_name") == "ASIA")
    nations = t["nation"].join(asia, "left_semi", on="n_regionkey", right_on="r_regionkey")
    suppliers = t["supplier"].join(nations, "inner", on="s_nationkey", right_on="n_nationkey")
    orders = t["orders"].filter(expr=year)
    bought = orders.join(t["customer"], "inner", on="o_custkey", right_on="c_custkey")
    lines = t["lineitem"].with_column("revenue", REVENUE)
    lines = lines.join(bought, "inner", on="l_orderkey", right_on="o_orderkey")
    local = lines.join(
        suppliers,
        "inner",
        on=["l_suppkey", "c_nationkey"],
        right_on=["s_suppkey", "s_nationkey"],
    )
    sums = local.groupby("n_name").aggregate(Sum("revenue", alias_name="revenue"))
    return sums.sort("revenue", descending=True)


def forecast(t: Tables) -> Dataset:
    year = col("l_shipdate").between(lit(date(1994, 1, 1)), lit(date(1994, 12, 31)))
    discount = number("l_discount").between(0.0499, 0.0701)
    lines = t["lineitem"].filter(expr=year & discount & (col("l_quantity") < 24))
    lines = lines.with_column("revenue", number("l_extendedprice") * number("l_discount"))
    return lines.groupby(None).aggregate(Sum("revenue", alias_name="revenue"))


def returned_items(t: Tables) -> Dataset:
    quarter = col("o_orderdate").between(lit(date(1993, 10, 1)), lit(date(1993, 12, 31)))
    returned = t["lineitem"].filter(expr=col("l_returnflag") == "R")
    returned = returned.with_column("revenue", REVENUE)
    orders = t["orders"].filter(expr=quarter)
    lines = returned.join(orders, "inner", on="l_orderkey", right_on="o_orderkey")
    spent = lines.groupby("o_custkey").aggregate(Sum("revenue", alias_name="revenue"))
    first = spent.join(t["customer"], "inner", on="o_custkey", right_on="c_custkey")
    first = first.join(t["nation"], "inner", on="c_nationkey", right_on="n_nationkey")
    first = first.sort("revenue", descending=True).limit(20)
    first = first.rename_columns({"o_custkey": "c_custkey"})
    names = ["c_custkey", "c_name", "revenue", "c_acctbal", "n_name", "c_address", "c_phone"]
    return first.select_columns([*names, "c_comment"])


def shipping_modes(t: Tables) -> Dataset:
    year = col("l_receiptdate").between(lit(date(1994, 1, 1)), lit(date(1994, 12, 31)))
    late = (col("l_commitdate") < col("l_receiptdate")) & (col("l_shipdate") < col("l_commitdate"))
    lines = t["lineitem"].filter(expr=col("l_shipmode").is_in(["MAIL", "SHIP"]) & year & late)
    both = lines.join(t["orders"], "inner", on="l_orderkey", right_on="o_orderkey")
    urgent = col("o_orderpriority").is_in(["1-URGENT", "2-HIGH"])
    both = both.with_columns(
        {"high": when(urgent).then(1).otherwise(0), "low": when(urgent).then(0).otherwise(1)}
    )
    sums = both.groupby("l_shipmode").aggregate(
        Sum("high", alias_name="high_line_count"), Sum("low", alias_name="low_line_count")
    )
    return sums.sort("l_shipmode")


def promotion(t: Tables) -> Dataset:
    month = col("l_shipdate").between(lit(date(1995, 9, 1)), lit(date(1995, 9, 30)))
    lines = t["lineitem"].filter(expr=month).with_column("revenue", REVENUE)
    both = lines.join(t["part"], "inner", on="l_partkey", right_on="p_partkey")
    promo = when(col("p_type").str.starts_with("PROMO")).then(col("revenue")).otherwise(0.0)
    sums = both.with_column("promo", promo).groupby(None)
    share = sums.aggregate(Sum("promo", alias_name="p"), Sum("revenue", alias_name="r"))
    share = share.with_column("promo_revenue", 100.0 * col("p") / col("r"))
    return share.select_columns(["promo_revenue"])


VERBS: dict[int, Callable[[Tables], Dataset]] = {
    1: pricing_summary,
    3: shipping_priority,
    4: order_priority,
    5: local_suppliers,
    6: forecast,
    10: returned_items,
    12: shipping_modes,
    14: promotion,
}
