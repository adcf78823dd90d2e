"""The gateway's moments: each logs once and counts once."""

from __future__ import annotations

from dexlane.runtime.observability import Log, Metrics


class Moments:
    """What is worth telling about people and clients."""

    def __init__(self, metrics: Metrics, log: Log) -> None:
        self._log = log
        self._archived = metrics.counter("archived_total", "Events written to the archive", ("event",))
        self._pruned = metrics.counter("pruned_total", "Records deleted by the retention rules")
        self._other_chains = metrics.counter("other_chains_total", "Heads told that are not of our chain of decisions")
        self._writes = metrics.counter("writes_total", "Changes made by people", ("kind",))
        self._denied = metrics.counter("denied_total", "Requests that were refused", ("reason",))
        self._clients = metrics.gauge("stream_clients", "Connected live clients")
        self._dropped = metrics.gauge("stream_dropped_messages", "Messages that slow clients lost")

    def archived(self, name: str) -> None:
        """An event was written to the archive."""
        self._archived.labels(name).inc()
        self._log.debug("archived", archived_event=name)

    def pruned(self, rows: int) -> None:
        """Old records were deleted."""
        self._pruned.inc(rows)
        if rows:
            self._log.info("archive_pruned", rows=rows)

    def not_pruned(self, reason: str) -> None:
        """The retention could not be applied; it is tried again."""
        self._log.warning("archive_not_pruned", reason=reason)

    def other_chain(self, chain_id: int, sequence: int) -> None:
        """The bus tells a head that is no entry of our chain of decisions: another archive writes one."""
        self._other_chains.inc()
        self._log.error("thoughts_of_another_archive", chain_id=chain_id, sequence=sequence)

    def books_loaded(self, changed: list[str]) -> None:
        """The books file was read."""
        self._writes.labels("books_file").inc(len(changed))
        self._log.info("books_loaded", changed=changed)

    def book_changed(self, book_id: str, version: int) -> None:
        """A person changed a book."""
        self._writes.labels("book").inc()
        self._log.info("book_changed", book_id=book_id, book_version=version)

    def halted(self, scope: str, reason: str) -> None:
        """A person stopped trading."""
        self._writes.labels("halt").inc()
        self._log.warning("trading_halted", scope=scope, reason=reason)

    def resumed(self, source: str, to: str, reason: str) -> None:
        """A person released a halt."""
        self._writes.labels("resume").inc()
        self._log.warning("trading_resumed", source=source, to=to, reason=reason)

    def close_requested(self, book_id: str, token: str) -> None:
        """A person closed a position."""
        self._writes.labels("close").inc()
        self._log.info("close_requested", book_id=book_id, token=token)

    def confirmation_answered(self, request_id: str, answer: str, reason: str) -> None:
        """A person confirmed a trade, or declined it."""
        self._writes.labels("confirmation").inc()
        self._log.warning("confirmation_answered", request_id=request_id, answer=answer, reason=reason)

    def confirmations_wait(self, reason: str) -> None:
        """It could not be noted which requests are over; it is tried again."""
        self._log.warning("confirmations_wait", reason=reason)

    def denied(self, reason: str, path: str) -> None:
        """A request was refused at the door."""
        self._denied.labels(reason).inc()
        self._log.warning("request_denied", reason=reason, path=path[:120])

    def clients(self, connected: int, dropped: int) -> None:
        """Live clients came or went."""
        self._clients.set(connected)
        self._dropped.set(dropped)
        self._log.debug("stream_clients", connected=connected)


class SignerMoments:
    """What signers on this host do not confirm."""

    def __init__(self, metrics: Metrics, log: Log) -> None:
        self._log = log
        self._signers = metrics.counter("signer_unanswered_total", "Words a signer did not confirm", ("word",))

    def signer_not_halted(self, socket: str, reason: str, *, is_news: bool = True) -> None:
        """A signer on this host did not confirm a halt; the bus still carries it. It is told again and again."""
        self._signers.labels("halt").inc()
        say = self._log.error if is_news else self._log.debug
        say("signer_not_halted", socket=socket, reason=reason)

    def signer_halted_late(self, socket: str) -> None:
        """A signer that was told again confirmed the halt."""
        self._log.warning("signer_halted_late", socket=socket)

    def signer_not_reached(self, reason: str) -> None:
        """A signer or the bus did not take a sign of life; after some seconds entries are not signed."""
        self._signers.labels("beat").inc()
        self._log.debug("signer_not_reached", reason=reason)


class BrakeMoments:
    """What people do about breakers, and with the big red button."""

    def __init__(self, metrics: Metrics, log: Log) -> None:
        self._log = log
        self._presses = metrics.counter("brakes_total", "Breakers reset and emergency stops begun", ("kind",))
        self._emergency = metrics.gauge("emergency_stop", "1 while an emergency stop is under way")
        self._left = metrics.gauge("emergency_left", "What the last emergency stop could not close or cancel")

    def breaker_reset(self, source: str, reason: str) -> None:
        """A person reset a breaker."""
        self._presses.labels("reset").inc()
        self._log.warning("breaker_reset", source=source, reason=reason)

    def emergency_begun(self, reason: str, *, close_positions: bool) -> None:
        """A person pressed the button."""
        self._presses.labels("emergency_stop").inc()
        self._emergency.set(1)
        self._log.error("emergency_stop_begun", reason=reason, close_positions=close_positions)

    def emergency_shown(self, *, is_running: bool) -> None:
        """The last stop was taken up from the journal."""
        self._emergency.set(int(is_running))
        if is_running:
            self._log.warning("emergency_stop_goes_on")

    def emergency_waits(self, reason: str) -> None:
        """A step of the stop could not be taken; it is tried again at once."""
        self._log.warning("emergency_stop_waits", reason=reason)

    def emergency_ended(self, left: list[str]) -> None:
        """All that could be done was done."""
        self._emergency.set(0)
        self._left.set(len(left))
        self._log.error("emergency_stop_ended", left=left)
