"""The sleeve's decisions: handshakes, liveness, roaming, sizes, recovery. Pure.

Fed with datagrams that are no fragments, with what the shell authenticated, and with the time; what is to be done is
collected in `effects`. The shell seals and opens units itself (that is where the speed is), with sessions from here.

Invariant: a session is only ever reached by a number that we drew, and only members whose static key the router named
have one; what does not authenticate changes nothing but a counter.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import assert_never

from weave.errors import RemoteError
from weave.net.sleeve import handshake, limits
from weave.net.sleeve.door import Door, Verdict, open_cookie
from weave.net.sleeve.handshake import Initiation
from weave.net.sleeve.keys import tag_key, which_key
from weave.net.sleeve.model import Effect, Notice, PeerConfig, PeerStatus, Resend, Send
from weave.net.sleeve.peer import Inbox, Peer
from weave.net.sleeve.relaying import Relaying
from weave.net.sleeve.session import Session
from weave.net.sleeve.trials import Trials, direct_places
from weave.net.sleeve.ways import FAR
from weave.net.sleeve.wire import (
    COOKIE_HEAD,
    HEADER,
    HEADER_BYTES,
    TAG_BYTES,
    Address,
    Ask,
    Control,
    Echo,
    Hint,
    Key,
    Kind,
    Nack,
    Probe,
    SleeveError,
    decode_control,
    encode_control,
    helper_of,
    via,
)
from weave.noise.keys import KeyPair

_LARGEST_NUMBER = 0xFFFF_FFFF


class SleeveCore:
    """Every peer and session of this host."""

    def __init__(self, static: KeyPair, psks: Sequence[bytes], random: Callable[[int], bytes], most: int) -> None:
        self.effects: list[Effect] = []
        self.refused: Counter[str] = Counter()
        self.inboxes: dict[int, Inbox] = {}
        """By the number that datagrams to us carry."""
        self.lacking: dict[int, Inbox] = {}
        """Those that wait for fragments; also kept up by whoever reassembles."""
        self.peers: dict[str, Peer] = {}
        self.relaying = Relaying(Key(static.public), self.peers, self.refused)
        """What goes through others, or through us to others."""
        self._agenda: list[tuple[float, str]] = []
        self._by_key: dict[Key, Peer] = {}
        self._initiations: dict[int, Peer] = {}
        self._static = static
        self._trials = Trials(Key(static.public), self.relaying, self.send)
        self._random = random
        self._most = most
        self._door = Door(random)
        self._psks: tuple[bytes, ...] = ()
        self._tag_keys: tuple[bytes, ...] = ()
        self.set_psks(psks)

    # -- what the router wants -----------------------------------------------------------------------------------

    def set_psks(self, psks: Sequence[bytes]) -> None:
        """Make these the passwords; the first is the one we begin with. Sessions live on until they are renewed."""
        self._psks = tuple(psks)
        self._tag_keys = tuple(tag_key(psk, Key(self._static.public)) for psk in psks)

    def set_peers(self, configs: Sequence[PeerConfig], now: float) -> None:
        """Make these the peers; one that was there keeps its sessions unless its key is another."""
        wanted = {config.name: config for config in configs[:limits.MAX_PEERS]}
        for name in sorted(self.peers.keys() - wanted.keys()):
            self._remove(name)
        for name, config in sorted(wanted.items()):
            peer = self.peers.get(name)
            if peer is not None and peer.config.key != config.key:
                self._remove(name)
                peer = None
            if peer is None:
                peer = self.peers[name] = self._by_key[config.key] = Peer(config, self._most)
                self.relaying.add(peer)
                peer.handshake_at = now
            elif peer.config != config:
                peer.config = config
                if peer.wants_handshake(now):
                    peer.attempts, peer.handshake_at = 0, now
            self.schedule(peer, now)

    def statuses(self) -> list[PeerStatus]:
        """Return how every way is, sorted by peer."""
        return [self.peers[name].status() for name in sorted(self.peers)]

    # -- what comes from the wire -------------------------------------------------------------------------------

    def datagram(self, data: bytes, address: Address, now: float) -> None:
        """Take in a datagram that is no fragment; what is wrong with it is counted."""
        try:
            match data[0] if data else 0:
                case Kind.CONTROL:
                    self._control(data, address, now)
                case Kind.INITIATION:
                    self._initiation(data, address, now)
                case Kind.RESPONSE:
                    self._response(data, address, now)
                case Kind.COOKIE:
                    self._cookie(data, now)
                case _:
                    self.refused["unknown kind of datagram"] += 1
        except RemoteError as exc:
            self.refused[str(exc)] += 1  # these say nothing that a stranger could vary

    def opened(self, inbox: Inbox, counter: int, before: int, address: Address, now: float) -> None:
        """Take note that the shell authenticated a unit when `before` was the highest counter."""
        peer = inbox.peer
        peer.frames_at = now
        if counter == before + 1 and inbox is peer.current and address == peer.address and not inbox.recovery.gaps:
            # nearly all are like this
            peer.heard_at, peer.doubt_since = now, None
            return
        inbox.recovery.arrived(counter, before, now)
        if counter > before + 1:
            self.lacking[inbox.session.local] = inbox
        self._heard(inbox, address, now, is_newest=counter > before)

    # -- time ---------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Do what is due."""
        while self._agenda and self._agenda[0][0] <= now:
            due, name = heappop(self._agenda)
            peer = self.peers.get(name)
            if peer is None or due != peer.scheduled_at:
                continue
            peer.scheduled_at = FAR
            self._tend(peer, now)
            self.schedule(peer, now)
        self.recover(now)

    def _tend(self, peer: Peer, now: float) -> None:
        self._expire(peer, now)
        if peer.wants_handshake(now) and peer.handshake_at <= now:
            self._begin(peer, now, self._places(peer))
        elif places := self._trials.tend(peer, now):
            self._begin(peer, now, places)
        elif peer.helper is not None and not peer.compares and peer.direct_at <= now:
            peer.direct_at = now + limits.DIRECT_AGAIN_S
            self._begin(peer, now, direct_places(peer))
        if peer.probe_due(now) <= now:
            self._probe(peer, now)
        if peer.is_established:
            self._try_sizes(peer, now)

    def schedule(self, peer: Peer, now: float) -> None:
        """Have `tick` look at a peer in time; to be called after anything that may be due earlier than before."""
        due = peer.due(now)
        if due < peer.scheduled_at:
            peer.scheduled_at = due
            heappush(self._agenda, (due, peer.config.name))

    def recover(self, now: float) -> None:
        """Ask for what is missing and due; cheap, for after every burst."""
        for number, inbox in list(self.lacking.items()):
            if (inbox.recovery.is_idle and not inbox.order.waiting) or number not in self.inboxes:
                del self.lacking[number]
                continue
            lacks = inbox.recovery.due(now, inbox.peer.quality.rtt_s or 0.0)
            if lacks:
                self._say(inbox.peer, Nack(tuple(lacks)), inbox)

    def deadline(self) -> float:
        """Return when `tick` has something to do next."""
        due = self._agenda[0][0] if self._agenda else FAR
        if not self.lacking:
            return due
        return min(due, *(min(inbox.recovery.deadline(), inbox.order.until) for inbox in self.lacking.values()))

    # -- handshakes ---------------------------------------------------------------------------------------------

    def _begin(self, peer: Peer, now: float, places: Sequence[Address]) -> None:
        peer.next_attempt(now, self._random(1)[0] / 255)
        cookie = peer.cookie if now < peer.cookie_until else None
        try:
            initiation = handshake.initiate(
                self._static, peer.config.key, self._psks[0], local=self._number(), ephemeral=self._random(32),
                cookie=cookie, now=now)
        except RemoteError as exc:
            # a key that is none; the mesh admits no such peer, but one peer must never stop the others
            self.refused[str(exc)] += 1
            return
        for number in peer.keep(initiation):
            del self._initiations[number]
        self._initiations[initiation.local] = peer
        for address in places:
            self.send(peer, initiation.datagram, address)
        if peer.attempts > 2 and now - peer.asked_at >= limits.ASK_INTERVAL_S:
            self._ask_for(peer, now)

    def _initiation(self, data: bytes, address: Address, now: float) -> None:
        sender, signed, first, second = handshake.initiation_parts(data)
        number = which_key(self._tag_keys, signed, first)
        if number is None:
            raise SleeveError("an initiation comes from somebody without the password")
        match self._door.judge(signed + first, first, second, address, now):
            case Verdict.REFUSE:
                raise SleeveError("an initiation came twice, or too many came")
            case Verdict.COOKIE:
                if helper_of(address) is None:
                    reply = self._door.cookie_for(self._tag_keys[number], first, sender, address, now)
                    self.effects.append(Send(reply, address))
            case Verdict.SERVE:
                self._serve(data, self._psks[number], address, now)
            case other:
                assert_never(other)

    def _serve(self, data: bytes, psk: bytes, address: Address, now: float) -> None:
        opened = handshake.read_initiation(self._static, psk, data, self._random(32))
        peer = self._by_key.get(opened.initiator)
        if peer is None:
            raise SleeveError("an initiation comes from a peer that is not known here")
        response, session = handshake.respond(opened, psk, local=self._number(), now=now)
        self._drop(peer.offer(self._add(peer, session)))
        self.send(peer, response, address)
        if not peer.is_established and address not in peer.hints and helper_of(address) is None:
            peer.hints = (address, *peer.hints)[:limits.MAX_HINTS]
        self.schedule(peer, now)

    def _response(self, data: bytes, address: Address, now: float) -> None:
        local = handshake.response_receiver(data)
        peer = self._initiations.get(local)
        if peer is None:
            raise SleeveError("a response belongs to no initiation of ours")
        if which_key(self._tag_keys, data[:-TAG_BYTES], data[-TAG_BYTES:]) is None:
            raise SleeveError("a response comes from somebody without the password")
        initiation = peer.initiations[local]
        self._forget_initiations(peer)
        session = handshake.complete(initiation, data, now)
        peer.quality.latest_s = now - initiation.began
        self._establish(peer, self._add(peer, session), address, now)
        self._probe(peer, now)

    def _cookie(self, data: bytes, now: float) -> None:
        if len(data) != COOKIE_HEAD.size:
            raise SleeveError("a cookie has the wrong length")
        local = COOKIE_HEAD.unpack(data)[1]
        peer = self._initiations.get(local)
        if peer is None:
            raise SleeveError("a cookie belongs to no initiation of ours")
        initiation: Initiation = peer.initiations[local]
        cookie = open_cookie(data, initiation.tag_key, initiation.first_tag)
        if cookie is None:
            raise SleeveError("a cookie does not authenticate")
        peer.cookie, peer.cookie_until = cookie, now + limits.COOKIE_LIFE_S
        peer.handshake_at = min(peer.handshake_at, now + limits.HANDSHAKE_RETRY_S)
        self.schedule(peer, now)

    def _establish(self, peer: Peer, inbox: Inbox, address: Address, now: float) -> None:
        is_new, yields = not peer.is_established, self._yields(inbox, peer.current)
        self._drop(peer.demote(inbox) if yields else peer.promote(inbox))
        has_moved = peer.heard(address, now, is_newest=not yields)
        self.relaying.note_place(address, peer)
        peer.direct_at = now + limits.DIRECT_AGAIN_S
        if is_new or has_moved:
            self.effects.append(Notice(peer.config.name, "established" if is_new else "moved", address))
        self.schedule(peer, now)

    def _yields(self, new: Inbox, current: Inbox | None) -> bool:
        """Say whether of two sessions whose initiations crossed the present one is the better, for both ends alike.

        They crossed where the present session was not there yet when the new one was begun. One that was says nothing
        against a new one: the other end may have started anew, and know the former no more.
        """
        if current is None or new.session.is_initiator == current.session.is_initiator:
            return False
        we_are_first = self._static.public < new.peer.config.key
        return current.session.born >= new.session.begun and current.session.is_initiator == we_are_first

    def _expire(self, peer: Peer, now: float) -> None:
        for inbox in peer.inboxes():
            if inbox.session.is_usable(now):
                continue
            self._drop(inbox)
            if peer.current is inbox:
                peer.current = None
                self.effects.append(Notice(peer.config.name, "expired", peer.address))
            elif peer.previous is inbox:
                peer.previous = None
            else:
                peer.pending.remove(inbox)

    # -- control messages ---------------------------------------------------------------------------------------

    def _control(self, data: bytes, address: Address, now: float) -> None:
        if len(data) < HEADER_BYTES + TAG_BYTES:
            raise SleeveError("a control message is too short")
        inbox = self.inboxes.get(HEADER.unpack_from(data)[3])
        if inbox is None:
            raise SleeveError("a datagram belongs to no session")
        body, is_newest = inbox.session.open_control(data)
        message = decode_control(body)
        if isinstance(message, Probe | Echo) and message.is_trial:
            self._tried(inbox, message, len(data), address, now)
            return
        self._heard(inbox, address, now, is_newest=is_newest)
        if message is not None:
            self._obey(inbox, message, len(data), address, now)
        self.schedule(inbox.peer, now)

    def _tried(self, inbox: Inbox, message: Probe | Echo, size: int, address: Address, now: float) -> None:
        """Answer a trial the way it came, or take in its echo; it says nothing of the way in use."""
        peer = inbox.peer
        if isinstance(message, Echo):
            self._trials.answered(peer, message, now)
        elif inbox not in peer.pending:
            echo = Echo(size, message.number, None, is_trial=True)
            self.send(peer, inbox.session.seal_control(encode_control(echo)), address)

    def _obey(self, inbox: Inbox, message: Control, size: int, address: Address, now: float) -> None:
        peer = inbox.peer
        match message:
            case Probe():
                peer.compares = message.compares
                inbox.reassembly.reach = max(inbox.reassembly.reach, message.sent)
                seen_at = None if helper_of(address) is not None else address
                self._say(peer, Echo(size, message.number, seen_at), inbox)
            case Echo():
                self._echoed(peer, message, now)
            case Nack(lacks):
                self.effects.append(Resend(peer, inbox.session.remote, lacks, address))
            case Ask(key):
                self._introduce(peer, key, inbox)
            case Hint(key, place):
                self._hinted(key, place, now)
            case other:
                assert_never(other)

    def _echoed(self, peer: Peer, echo: Echo, now: float) -> None:
        peer.compares = echo.compares
        peer.quality.echoed(echo.number, now)
        peer.sizes.passed(echo.size)

    def _introduce(self, asker: Peer, key: Key, inbox: Inbox) -> None:
        """Tell two peers of each other, so that both open their address translators at once."""
        wanted = self._by_key.get(key)
        if wanted is None or wanted is asker or not wanted.is_direct or not asker.is_direct:
            return
        assert wanted.address is not None, "an established peer has an address"
        assert asker.address is not None, "an established peer has an address"
        self._say(asker, Hint(key, wanted.address), inbox)
        self._say(wanted, Hint(asker.config.key, asker.address))

    def _hinted(self, key: Key, place: Address, now: float) -> None:
        peer = self._by_key.get(key)
        if peer is None or not peer.wants_handshake(now):
            return
        if place not in peer.hints:
            peer.hints = (place, *peer.hints)[:limits.MAX_HINTS]
            peer.attempts, peer.handshake_at = 0, now
            self.schedule(peer, now)

    def _ask_for(self, peer: Peer, now: float) -> None:
        peer.asked_at = now
        helpers = [self.peers[name] for name in sorted(self.peers)
                   if self.peers[name].is_direct and self.peers[name] is not peer]
        for helper in helpers[:limits.MAX_HELPERS]:
            self._say(helper, Ask(peer.config.key))

    # -- probes -------------------------------------------------------------------------------------------------

    def _probe(self, peer: Peer, now: float) -> None:
        """Ask for an echo; every second one is as large as a fragment, so that a way that swallows those is noticed."""
        assert peer.current is not None, "only established peers are probed"
        peer.probe_number = peer.probe_number + 1 & _LARGEST_NUMBER
        size = peer.sizes.size if peer.probe_number % 2 == 0 else 0
        was_lost = peer.quality.lost_in_row
        peer.quality.sent(peer.probe_number, now)
        peer.probe_at = now
        if peer.quality.lost_in_row > was_lost and peer.probe_number % 2 == 1:
            # the one that was lost is the full one before this
            peer.sizes.vanished(now)
        self._say(peer, Probe(size, peer.probe_number, peer.current.session.sent), size=size)

    def _try_sizes(self, peer: Peer, now: float) -> None:
        for size in peer.sizes.candidates(now):
            self._say(peer, Probe(size, 0, 0), size=size)

    # -- through others ----------------------------------------------------------------------------------------

    def send(self, peer: Peer, datagram: bytes, address: Address) -> None:
        """Send a datagram to a peer at an address, which may be that of somebody who passes it on."""
        sending = self.relaying.sending(peer, datagram, address)
        if sending is not None:
            self.effects.append(sending)

    def _places(self, peer: Peer) -> list[Address]:
        """Return where a handshake goes: where the peer is known to be, or through others; never off a chosen way."""
        if peer.address is not None and peer.helper is not None and peer.quality.lost_in_row < limits.PROBES_LOST:
            return [peer.address]
        return [*peer.candidates(), *self._relays(peer)]

    def _relays(self, peer: Peer) -> list[Address]:
        """Return the helpers to try once a peer could not be found directly for a while."""
        return [] if peer.attempts < limits.RELAY_AFTER_ATTEMPTS else list(map(via, self.relaying.helpers(peer)))

    # -- small things -------------------------------------------------------------------------------------------

    def _heard(self, inbox: Inbox, address: Address, now: float, *, is_newest: bool) -> None:
        peer = inbox.peer
        if inbox in peer.pending:
            for forgotten in peer.confirmed(inbox):
                self._drop(forgotten)
            self._establish(peer, inbox, address, now)
            self._probe(peer, now)
            return
        # a session takes its way with it: what is under way on a former one does not lead back to the way that was left
        leads = inbox is peer.current or (peer.helper is None and helper_of(address) is None)
        if peer.heard(address, now, is_newest=is_newest and leads):
            self.relaying.note_place(address, peer)
            self.effects.append(Notice(peer.config.name, "moved", address))

    def _say(self, peer: Peer, message: Control, inbox: Inbox | None = None, *, size: int = 0) -> None:
        through = inbox or peer.current
        if through is None or peer.address is None:
            return
        self.send(peer, through.session.seal_control(encode_control(message), size), peer.address)

    def _number(self) -> int:
        """Draw a number that nobody could have foreseen and that is free."""
        while True:
            number = int.from_bytes(self._random(4), "little")
            if number and number not in self.inboxes and number not in self._initiations:
                return number

    def _add(self, peer: Peer, session: Session) -> Inbox:
        inbox = self.inboxes[session.local] = Inbox(peer, session)
        return inbox

    def _drop(self, inbox: Inbox | None) -> None:
        if inbox is not None:
            self.inboxes.pop(inbox.session.local, None)

    def _forget_initiations(self, peer: Peer) -> None:
        for number in peer.initiations:
            del self._initiations[number]
        peer.initiations.clear()

    def _remove(self, name: str) -> None:
        peer = self.peers.pop(name)
        if self._by_key.get(peer.config.key) is peer:
            del self._by_key[peer.config.key]
            self.relaying.remove(peer)
        self._forget_initiations(peer)
        self._trials.forget(peer)
        for inbox in peer.inboxes():
            self._drop(inbox)
