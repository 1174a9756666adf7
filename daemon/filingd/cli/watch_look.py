"""What `filingd watch list` shows: lists, saved searches and companies, as they stand in files, manifest and catalogue."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from filingd.cli.instants import iso_minute
from filingd.cli.options import opened_catalogue, opened_manifest
from filingd.cli.watch_report import (
    FORMAT,
    AnswerReport,
    CompanyReport,
    ListReport,
    SearchReport,
    WatchReport,
)
from filingd.core.errors import ConfigError
from filingd.core.model import EMPTY_STATES, FINISHED_STATES, HOLDING_STATES
from filingd.core.watchlist import Entry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from filingd.adapters.catalogue_reader import CatalogueReader
    from filingd.adapters.manifest_reader import ManifestReader
    from filingd.cli.watch_desks import Desk
    from filingd.core.catalogue import Entry as CatalogueEntry
    from filingd.core.model import Item
    from filingd.core.watchlist import Reading, SavedSearch
    from filingd.ports import Companies
    from filingd.settings import Settings

_PAGE = 1000
_NOT_TOLD = frozenset({"names", "rows"})  # facts that only the engine has a use for


def report(
    settings: Settings,
    desks: Sequence[Desk],
    name: str | None,
    numbers: Sequence[Sequence[str]] | None,
    limit: int,
) -> WatchReport:
    """What there is to tell: of one list alone, if it is named, and of some numbers alone, by desk, if there are any.

    Raises:
        ConfigError: there is no such list.
        StoreError: manifest or catalogue cannot be read.
    """
    _check_name(desks, name)
    with ExitStack() as stack:
        manifest = catalogue = None
        if settings.manifest_path.exists():
            manifest = stack.enter_context(opened_manifest(settings))
            catalogue = _catalogue_if_there(stack, settings)
        looks = [
            _Look(desk, name, None if numbers is None else numbers[place], manifest, catalogue)
            for place, desk in enumerate(desks)
        ]
        count = sum(len(look.wanted) for look in looks)
        companies: list[CompanyReport] = []
        for look in looks:
            companies += look.companies(limit - len(companies))
        return WatchReport(
            FORMAT,
            [each for look in looks for each in look.lists()],
            count,
            companies,
            count > limit,
            [text for look in looks for text in look.reading.findings],
            list(remarks_on_companies(settings)) if any(desk.registry == "nbb" for desk in desks) else [],
            [each for look in looks for each in look.searches()],
        )


def _check_name(desks: Sequence[Desk], name: str | None) -> None:
    names = [each for desk in desks for each in (*desk.editor.names(), *desk.editor.searches())]
    if name is None or name in names:
        return
    names = list(dict.fromkeys(names))  # a list and a search, or lists of two registries, may share one
    folders = " or ".join(str(desk.editor.path(name)) for desk in desks)
    raise ConfigError(
        f"There is no list {name}: {folders} does not exist. There are: {', '.join(names) or 'none'}."
    )


def _catalogue_if_there(stack: ExitStack, settings: Settings) -> CatalogueReader | None:
    """Without a catalogue, filings are simply not known yet."""
    from filingd.core.layout import CATALOGUE_NAME

    if not (settings.store.path / CATALOGUE_NAME).exists():
        return None
    return stack.enter_context(opened_catalogue(settings))


class _Look:
    """One look at the lists of one registry."""

    def __init__(
        self,
        desk: Desk,
        name: str | None,
        numbers: Sequence[str] | None,
        manifest: ManifestReader | None,
        catalogue: CatalogueReader | None,
    ) -> None:
        reading = desk.folder.look()
        assert reading is not None, "the first look always reads"
        self.reading: Reading = reading
        self._forgotten_at = (
            {each.subject: each.buried_at for each in manifest.tombstones()} if manifest else {}
        )
        self._desk = desk
        self._name = name
        self._manifest = manifest
        self._catalogue = catalogue
        desk.companies.follow(reading.watched, reading.searches)
        self._entries = {
            each: {line.number: line for line in desk.editor.lines(each) if isinstance(line, Entry)}
            for each in desk.editor.names()
            if name in (None, each)
        }
        there = {number for entries in self._entries.values() for number in entries}
        self.wanted = sorted(there if numbers is None else there & set(numbers))

    def lists(self) -> list[ListReport]:
        """The lists, by name."""
        return [self._list(name, len(entries)) for name, entries in self._entries.items()]

    def _list(self, name: str, count: int) -> ListReport:
        terms = self._desk.folder.terms_of(name)
        return ListReport(
            name,
            str(self._desk.editor.path(name)),
            count,
            terms.refresh_interval_s,
            sorted(getattr(terms, "documents", ())),
            getattr(terms, "latest", 0),
            getattr(terms, "improved", False),
            self._desk.registry,
            list(terms.words()),
        )

    def searches(self) -> list[SearchReport]:
        """The saved searches, by name."""
        found = sorted(self.reading.searches.items())
        return [self._search(name, saved) for name, saved in found if self._name in (None, name)]

    def _search(self, name: str, saved: SavedSearch) -> SearchReport:
        prefix = self._desk.companies.search_prefix(name)
        groups = self._manifest.groups(prefix) if self._manifest and prefix else []
        held = _facts_below(self._manifest, prefix) if self._manifest and prefix else ()
        named = {number for facts in held for number in self._desk.companies.named(facts)}
        return SearchReport(
            name,
            self._desk.registry,
            str(self._desk.editor.search_path(name)),
            list(saved.search.words()),
            list(saved.terms.words()),
            len(groups),
            sum(group.sealed_at is not None for group in groups),
            [f"{group.key}: {', '.join(group.reasons)}" for group in groups if group.sealed_at is None],
            len(named),
            list(self._desk.companies.search_gaps(groups)),
        )

    def companies(self, limit: int) -> list[CompanyReport]:
        """The first of the companies, by number."""
        return [self._company(number) for number in self.wanted[: max(limit, 0)]]

    def _company(self, number: str) -> CompanyReport:
        companies: Companies = self._desk.companies
        own = {name: entries[number] for name, entries in self._entries.items() if number in entries}
        filings = self._catalogue.filings_of(number) if self._catalogue else []
        items = self._manifest.items(companies.document_keys(filings)).values() if self._manifest else []
        answers = [_answer(key, self._manifest) for key in companies.keys(number)]
        names = (answer.facts["name"] for answer in answers if answer.facts.get("name"))
        return CompanyReport(
            number,
            list(own),
            _name_in(filings) or next(names, None),
            next(iter(own.values())).note,
            answers,
            len(filings),
            sum(len({(one.place.kind, one.place.variant) for one in entry.documents}) for entry in filings),
            sum(item.state not in FINISHED_STATES for item in items),
            sum(item.state in EMPTY_STATES for item in items),
            self._desk.registry,
            self._forgotten_at.get(number),
        )


def _facts_below(manifest: ManifestReader, prefix: str) -> Iterator[Mapping[str, Any]]:
    """The facts of all bodies that are held of items whose key begins so."""
    after = ""
    while page := manifest.with_prefix(prefix, after, _PAGE, HOLDING_STATES):
        yield from (
            version.facts for version in manifest.current_versions(item.key for item in page).values()
        )
        after = page[-1].key


def _name_in(filings: Sequence[CatalogueEntry]) -> str | None:
    names = (listing.filing.enterprise_name for entry in filings for listing in entry.listings)
    return next((name for name in names if name), None)


def _answer(key: str, manifest: ManifestReader | None) -> AnswerReport:
    item = manifest.items([key]).get(key) if manifest else None
    if manifest is None or item is None:
        return AnswerReport(key, None, None, None, None)
    version = manifest.current_versions([key]).get(key)
    facts = {name: value for name, value in version.facts.items() if name not in _NOT_TOLD} if version else {}
    verified_at = version.verified_at if version else None
    return AnswerReport(
        key, item.state.name.lower(), _came_at(item, verified_at), item.due_at, item.reason, facts
    )


def _came_at(item: Item, verified_at: float | None) -> float | None:
    return item.nothing_at if item.stored_at is None else max(item.stored_at, verified_at or 0.0)


def remarks_on_companies(settings: Settings) -> Iterator[str]:
    """What the subscriptions mean for the companies of watchlists."""
    if settings.nbb is None:
        return
    subscribed = settings.subscriptions
    if "authentic-query" not in subscribed:
        yield (
            "Nothing is asked about companies: that takes a subscription to authentic-query. "
            "Write [nbb.products.authentic-query] with its `keys`."
        )
    if any(each.improved for each in settings.nbb.watch.values()) and "improved" not in subscribed:
        yield (
            "Improved data of companies are not expected: that takes a subscription to improved. "
            "Write [nbb.products.improved] with its `keys`, or take `improved` out of [nbb.watch]."
        )


# ------------------------------------------------------------------------------------------ text


def text(report: WatchReport) -> Iterator[str]:
    """The report for people."""
    if not (report.lists or report.searches):
        yield "There is no watchlist. `filingd watch add NUMBER` makes a first one."
    for each in report.lists:
        yield f"{each.name:<16} {each.companies:,} companies  {', '.join(each.terms)}  {each.path}"
    for search in report.searches:
        yield from _search_told(search)
    if report.companies:
        yield ""
    for company in report.companies:
        yield from _company_told(company)
    if report.more:
        yield f"… and more, {report.company_count:,} in all: raise --limit, or name a --list or a NUMBER"
    if report.problems:
        yield ""
    for problem in report.problems:
        yield f"problem: {problem}"
    for remark in report.remarks:
        yield f"note: {remark}"


def _search_told(search: SearchReport) -> Iterator[str]:
    yield f"{search.name:<16} search: {', '.join(search.search)}  {', '.join(search.terms)}  {search.path}"
    if not search.cells:
        yield f"{'':<16} not asked yet"
        return
    parts = (
        f"complete in {search.sealed} of {search.cells} parts"
        if search.cells > 1
        else ("complete" if search.sealed else "not complete yet")
    )
    yield f"{'':<16} {search.companies:,} companies found, {parts}"
    for reason in search.open:
        yield f"{'':<16} open: {reason}"
    for gap in search.gaps:
        yield f"{'':<16} not found: {gap}"


def _company_told(company: CompanyReport) -> Iterator[str]:
    known = company.name or company.note
    yield f"{company.number}  {known}".rstrip() + f"  [{', '.join(company.lists)}]"
    if company.forgotten_at is not None:
        since = iso_minute(company.forgotten_at)
        yield f"            forgotten at {since}, on an operator's order: nothing is held of it or asked about it"
        return
    if company.registry == "nbb" or company.filings:
        wanted = f", {company.documents_wanted:,} on their way" if company.documents_wanted else ""
        missing = (
            f", {company.documents_unavailable:,} not available" if company.documents_unavailable else ""
        )
        yield f"            {company.filings:,} filings, {company.documents:,} documents{wanted}{missing}"
    for answer in company.answers:
        yield f"            {answer.key.rpartition('/')[2]}: {', '.join(_answer_told(answer))}"


def _answer_told(answer: AnswerReport) -> Iterator[str]:
    yield answer.state or "not planned yet"
    if answer.came_at is not None:
        word = "nothing known since" if answer.state == "empty" else "last had"
        yield f"{word} {iso_minute(answer.came_at)}"
    if answer.next_at is not None:
        yield f"next {iso_minute(answer.next_at)}"
    if answer.reason and answer.state != "empty":
        yield answer.reason
    yield from facts_told(answer.facts)


def facts_told(facts: Mapping[str, Any]) -> Iterator[str]:
    """What has to be known by whoever uses a record."""
    if facts.get("non_mailing"):
        yield "no unsolicited post (non-mailing)"
    if facts.get("shielded"):
        yield "address shielded"
