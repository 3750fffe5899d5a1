"""Catalogs: where a table is that has a name, and with which credentials it is reached.

`read_parquet`, `read_delta` and `read_iceberg`, and the writers, take one as `catalog=`.
"""

import enum
import json
import os
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from pyarrow import fs

if TYPE_CHECKING:
    from heliostat.data.dataset import Dataset

__all__ = [
    "Catalog",
    "CatalogAccessMode",
    "DatabricksUnityCatalog",
    "ReaderFormat",
    "ResolvedSource",
    "read_unity_catalog",
]

ANSWER_S = 30


class ReaderFormat(enum.StrEnum):
    """Which kind of table is looked up.

    Example:
        >>> ReaderFormat("delta") is ReaderFormat.DELTA
        True
    """

    DELTA = "delta"
    PARQUET = "parquet"
    ICEBERG = "iceberg"


class CatalogAccessMode(enum.StrEnum):
    """What a table is looked up for.

    Example:
        >>> CatalogAccessMode.READ.value
        'read'
    """

    READ = "read"
    WRITE = "write"


@dataclass
class ResolvedSource:
    """Where a table is. A verb uses what it can: a path, or for Iceberg a catalog and a name.

    Attributes:
        path: Of Parquet files or a Delta table: a directory or a URI.
        filesystem: What Parquet files are reached by; None: what the path says.
        storage_options: The same for a Delta table, in deltalake's words.
        catalog_kwargs: For Iceberg: of `pyiceberg.catalog.load_catalog`.
        table_identifier: For Iceberg: the table's name in that catalog.
        data_format: What the table is.

    Example:
        >>> ResolvedSource("s3://bucket/sales").path
        's3://bucket/sales'
    """

    path: str | None = None
    filesystem: Any = None
    storage_options: dict[str, Any] | None = None
    catalog_kwargs: dict[str, Any] | None = None
    table_identifier: str | None = None
    data_format: ReaderFormat | None = None


class Catalog(ABC):
    """Knows where tables are; write one for yours.

    Example:
        >>> import tempfile
        >>> import heliostat as ray
        >>> class Folder(Catalog):
        ...     def resolve(self, table, *, reader, mode=CatalogAccessMode.READ):
        ...         return ResolvedSource(f"{self.root}/{table}")
        >>> catalog = Folder()
        >>> with tempfile.TemporaryDirectory() as catalog.root:
        ...     ray.data.range(3).write_parquet("sales", catalog=catalog)
        ...     ray.data.read_parquet("sales", catalog=catalog).count()
        3
    """

    @abstractmethod
    def resolve(
        self,
        table: str,
        *,
        reader: ReaderFormat,
        mode: CatalogAccessMode = CatalogAccessMode.READ,
    ) -> ResolvedSource:
        """Where a table is.

        Args:
            table: Its name.
            reader: Who asks.
            mode: What for.
        """


def located(
    catalog: Any, table: Any, reader: str, verb: str, mode: str = "read", **others: Any
) -> ResolvedSource:
    """What a catalog says of a table.

    Args:
        catalog: The catalog.
        table: The name that the user gave.
        reader: As of `ReaderFormat`.
        verb: Who asks, for the text of an error.
        mode: As of `CatalogAccessMode`.
        **others: What may not be given beside a catalog.

    Raises:
        TypeError: If it is no catalog, the name no text, or the answer of another kind.
        ValueError: If the user said the place as well, or the answer lacks it.
    """
    if not isinstance(catalog, Catalog):
        raise TypeError(f"{verb}(catalog=...) takes a heliostat.data.Catalog, got {catalog!r:.80}")
    if not isinstance(table, str):
        raise TypeError(f"{verb} with a catalog takes the name of one table, got {table!r:.80}")
    if given := [name for name, value in others.items() if value is not None]:
        raise ValueError(f"{verb}: the catalog says where the table is; leave {given[0]} out")
    found = catalog.resolve(table, reader=ReaderFormat(reader), mode=CatalogAccessMode(mode))
    if not isinstance(found, ResolvedSource):
        raise TypeError(
            f"{type(catalog).__name__}.resolve must give a ResolvedSource, got {found!r:.80}"
        )
    if reader == "delta" and found.filesystem is not None and found.storage_options is None:
        raise ValueError(
            f"{verb} reaches a table by storage_options, and the catalog gave a filesystem"
        )
    if (found.table_identifier if reader == "iceberg" else found.path) is None:
        lacks = "table_identifier" if reader == "iceberg" else "path"
        raise ValueError(f"the catalog knows no {lacks} of {table!r}, which {verb} needs")
    return found


@dataclass(kw_only=True)
class DatabricksUnityCatalog(Catalog):
    """Unity Catalog, by its REST API: it gives credentials for one table that last a short time.

    Attributes:
        url: Of the workspace: `https://dbc-....cloud.databricks.com`.
        token: A personal access token; it needs EXTERNAL USE SCHEMA.
        credential_provider: Instead of both: an object with `get_host()` and `get_token()`.
        region: Of the bucket; needed for tables on S3.

    Example:
        >>> DatabricksUnityCatalog(url="https://dbc.example", token="t").url
        'https://dbc.example'
    """

    url: str | None = None
    token: str | None = None
    credential_provider: Any = None
    region: str | None = None

    def __post_init__(self) -> None:
        if self.credential_provider is None and not (self.url and self.token):
            raise ValueError("DatabricksUnityCatalog needs url and token, or a credential_provider")

    def _host(self) -> str:
        said = self.url if self.credential_provider is None else self.credential_provider.get_host()
        host = str(said).rstrip("/")
        return host if "://" in host else f"https://{host}"

    def _token(self) -> str:
        provider = self.credential_provider
        return str(self.token if provider is None else provider.get_token())

    def _ask(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{self._host()}/api/2.1/unity-catalog/{path}",
            None if body is None else json.dumps(body).encode(),
            {"Authorization": f"Bearer {self._token()}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:
                found: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:
            said = error.read(500).decode(errors="replace")
            told = f"Unity Catalog at {self._host()} answers {error.code} for {path}: {said}"
            kinds = {401: PermissionError, 403: PermissionError, 404: FileNotFoundError}
            raise kinds.get(error.code, OSError)(told) from error
        except urllib.error.URLError as error:
            raise ConnectionError(
                f"nothing answers at {self._host()}: {error.reason}; is the url right, and is there "
                "a network?"
            ) from error
        return found

    def infer_format(self, table: str) -> ReaderFormat:
        """What kind of table it is.

        Args:
            table: `catalog.schema.table`.

        Raises:
            ValueError: If it is of a kind that is not read here.
        """
        said = str(self._ask(f"tables/{quote(table)}").get("data_source_format", "")).lower()
        try:
            return ReaderFormat(said)
        except ValueError:
            kinds = ", ".join(one.value for one in ReaderFormat)
            raise ValueError(f"{table!r} is of format {said!r}; read here are {kinds}") from None

    def resolve(
        self,
        table: str,
        *,
        reader: ReaderFormat,
        mode: CatalogAccessMode = CatalogAccessMode.READ,
    ) -> ResolvedSource:
        """Where a table is, with credentials for it.

        Args:
            table: `catalog.schema.table`.
            reader: Who asks.
            mode: What for.

        Raises:
            PermissionError: If the token does not allow it.
            FileNotFoundError: If there is no such table.
            NotImplementedError: If its store is one that is not reached this way.
        """
        if reader is ReaderFormat.ICEBERG:
            catalog, _, rest = table.partition(".")
            uri = f"{self._host()}/api/2.1/unity-catalog/iceberg-rest"
            where = {"type": "rest", "uri": uri, "warehouse": catalog, "token": self._token()}
            return ResolvedSource(catalog_kwargs=where, table_identifier=rest, data_format=reader)
        known = self._ask(f"tables/{quote(table)}")
        operation = "READ" if mode is CatalogAccessMode.READ else "READ_WRITE"
        lent = self._ask(
            "temporary-table-credentials", {"table_id": known["table_id"], "operation": operation}
        )
        path = str(lent.get("url") or known["storage_location"])
        options, filesystem = self._reached(path, lent)
        if filesystem is not None and reader is ReaderFormat.PARQUET:
            parts = urlsplit(path)  # s3://bucket/key, or abfss://container@account.host/key
            path = (parts.netloc.rpartition("@")[0] or parts.netloc) + parts.path
        return ResolvedSource(path, filesystem, options, data_format=reader)

    def _reached(self, path: str, lent: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
        """By deltalake's options, and by a filesystem of Arrow's."""
        if aws := lent.get("aws_temp_credentials"):
            if not self.region:
                raise ValueError(
                    "this table is on S3: DatabricksUnityCatalog(region=...) is needed"
                )
            keys = {"access_key": aws["access_key_id"], "secret_key": aws["secret_access_key"]}
            keys["session_token"] = aws["session_token"]
            options = {
                "AWS_ACCESS_KEY_ID": keys["access_key"],
                "AWS_SECRET_ACCESS_KEY": keys["secret_key"],
                "AWS_SESSION_TOKEN": keys["session_token"],
                "AWS_REGION": self.region,
            }
            place: dict[str, Any] = {"region": self.region}
            if elsewhere := os.environ.get("AWS_ENDPOINT_URL"):
                parts = urlsplit(elsewhere)
                place |= {"endpoint_override": parts.netloc, "scheme": parts.scheme}
            return options, fs.S3FileSystem(**keys, **place)
        if azure := lent.get("azure_user_delegation_sas"):
            account = urlsplit(path).netloc.rpartition("@")[2].partition(".")[0]
            sas = azure["sas_token"]
            options = {"AZURE_STORAGE_ACCOUNT_NAME": account, "AZURE_STORAGE_SAS_TOKEN": sas}
            return options, fs.AzureFileSystem(account, sas_token=sas)
        if urlsplit(path).scheme in ("", "file"):
            return {}, None
        raise NotImplementedError(
            f"the catalog lends no credentials for {path!r} that are understood here (S3 and Azure "
            f"are): {sorted(lent)}; give them to read_delta or read_parquet yourself"
        )


def read_unity_catalog(
    table: str,
    url: str | None = None,
    token: str | None = None,
    *,
    credential_provider: Any = None,
    data_format: str | None = None,
    region: str | None = None,
    reader_kwargs: Mapping[str, Any] | None = None,
) -> "Dataset":
    """Read a table of Unity Catalog: `read_delta` or `read_parquet` with a `DatabricksUnityCatalog`.

    Args:
        table: `catalog.schema.table`.
        url: As of `DatabricksUnityCatalog`; so are `token`, `credential_provider` and `region`.
        token: See there.
        credential_provider: See there.
        data_format: `"delta"`, `"parquet"` or `"iceberg"`; None asks the catalog.
        region: See there.
        reader_kwargs: More for the reader.

    Returns:
        A Dataset.

    Raises:
        ValueError: If the format is another.
    """
    from heliostat.data import read_delta, read_iceberg, read_parquet  # noqa: PLC0415 - a cycle

    catalog = DatabricksUnityCatalog(
        url=url, token=token, credential_provider=credential_provider, region=region
    )
    kind = catalog.infer_format(table) if data_format is None else ReaderFormat(data_format.lower())
    more: dict[str, Any] = {**(reader_kwargs or {}), "catalog": catalog}
    if kind is ReaderFormat.ICEBERG:
        return read_iceberg(table_identifier=table, **more)
    return (read_delta if kind is ReaderFormat.DELTA else read_parquet)(table, **more)
