#include "tests/simulation/network.h"

#include <algorithm>

#include "base/log.h"

namespace ursa::sim {
namespace {

using worker::v1::ConnectRequest;
using worker::v1::ConnectResponse;

constexpr absl::Duration kLease = absl::Seconds(3);  // what is older than this counts as late

}  // namespace

Connection::Connection(Network* network, const StreamName& name, AgentEnd* agent)
    : WorkerSession(Caller{"worker"}), network_(*network), world_(network->world_), name_(name), agent_(agent) {
  up_.last_due = down_.last_due = world_.now();
}

template <typename Message>
void Connection::Enqueue(Direction<Message>* direction, Item<Message> item, absl::Duration delay) {
  direction->last_due = item.due = std::max(direction->last_due, world_.now() + delay);
  direction->is_closed = item.end.has_value();
  item.sent = world_.now();
  direction->items.push_back(std::move(item));
  SchedulePump(direction);
}

// Keeps what happens to arrive before the break, loses the rest, and lets the end be seen `notice` later.
template <typename Message>
void Connection::Cut(Direction<Message>* direction, bool is_blocked, absl::Duration notice) {
  if (direction->is_closed) return;
  const auto num_items = static_cast<int64_t>(direction->items.size());
  const int64_t num_kept = is_blocked ? 0 : world_.Between(0, num_items);
  world_.Count(Fault::kMessageLost, num_items - num_kept);
  direction->items.resize(static_cast<size_t>(num_kept));
  Enqueue(direction, Item<Message>{{}, {}, {}, absl::UnavailableError("stream: broken"), true}, notice);
}

void Connection::Send(ConnectResponse message) {
  if (!network_.coordinator_->MayLeave()) return;
  network_.coordinator_->OnLeaving(name_, message);
  if (down_.is_closed) return world_.Count(Fault::kMessageLost);
  Enqueue(&down_, {{}, {}, std::move(message), std::nullopt}, network_.Delay());
}

void Connection::Close(absl::Status status) {
  if (!network_.coordinator_->MayLeave() || is_server_done_) return;
  world_.Trace("stream closed by coordinator", name_.host, name_.stream_id, static_cast<int64_t>(status.code()));
  if (!down_.is_closed) Enqueue(&down_, {{}, {}, {}, std::move(status)}, network_.Delay());
  world_.Count(Fault::kMessageLost, static_cast<int64_t>(up_.items.size()));
  up_.items.clear();
  up_.is_closed = true;
  // gRPC tells the handler when all is done.
  world_.In(network_.Delay(), [self = shared_from_this()] { self->FinishServer(); });
}

void Connection::FinishServer() {
  if (is_server_done_) return;
  is_server_done_ = true;
  up_.is_closed = true;
  if (server_incarnation_ != 0 && server_incarnation_ == network_.coordinator_->Incarnation()) {
    network_.coordinator_->OnStreamClosed(this);
  }
  if (!down_.is_closed) {
    Enqueue(&down_, {{}, {}, {}, absl::UnavailableError("stream: ended")}, network_.Delay());
  }
}

void Connection::SendUp(ConnectRequest message) {
  if (up_.is_closed) return world_.Count(Fault::kMessageLost);
  Enqueue(&up_, {{}, {}, std::move(message), std::nullopt}, network_.Delay());
}

void Connection::CloseByAgent() {
  if (!up_.is_closed) Enqueue(&up_, {{}, {}, {}, absl::CancelledError("stream: closed")}, network_.Delay());
  down_.items.clear();
  Enqueue(&down_, {{}, {}, {}, absl::CancelledError("stream: closed by this end"), true}, absl::ZeroDuration());
}

void Connection::OnAgentDied() {
  agent_ = nullptr;
  down_.items.clear();
  down_.is_closed = true;
  if (!up_.is_closed) Enqueue(&up_, {{}, {}, {}, absl::CancelledError("stream: closed")}, network_.Delay());
}

void Connection::Break() {
  if (up_.is_closed && down_.is_closed) return;
  world_.Count(Fault::kStreamBroken);
  world_.Trace("stream breaks", name_.host, name_.stream_id);
  // Sometimes what is left is stuck behind the break for a while; sometimes nothing tells an end but its keepalive.
  const auto notice = [this] {
    return world_.Between(absl::ZeroDuration(),
                          world_.Chance(0.1) ? network_.options_.keepalive_most : network_.options_.notice_most);
  };
  if (world_.Chance(0.3)) {
    const absl::Duration stuck = world_.Between(absl::ZeroDuration(), network_.options_.late_most);
    for (auto& item : up_.items) item.due += stuck;
    up_.last_due += stuck;
  }
  const Network::Host& host = network_.HostOf(name_.host);
  Cut(&up_, host.up_blocked_until > world_.now(), notice());
  Cut(&down_, host.down_blocked_until > world_.now(), notice());
}

void Connection::OnCoordinatorDied() {
  is_server_done_ = true;
  world_.Count(Fault::kMessageLost, static_cast<int64_t>(up_.items.size()));
  up_.items.clear();
  up_.is_closed = true;
  if (agent_ == nullptr) return;
  Cut(&down_, network_.HostOf(name_.host).down_blocked_until > world_.now(),
      world_.Between(absl::ZeroDuration(), absl::Milliseconds(200)));
}

void Connection::SchedulePump(Direction<ConnectRequest>* direction) {
  if (std::exchange(direction->has_pump, true)) return;
  world_.At(direction->items.front().due, [self = shared_from_this()] { self->PumpUp(); });
}

void Connection::SchedulePump(Direction<ConnectResponse>* direction) {
  if (std::exchange(direction->has_pump, true)) return;
  world_.At(direction->items.front().due, [self = shared_from_this()] { self->PumpDown(); });
}

void Connection::PumpUp() {
  up_.has_pump = false;
  while (!up_.items.empty() && !is_processing_) {
    const Item<ConnectRequest>& next = up_.items.front();
    const absl::Time open_at = next.is_local ? next.due : network_.HostOf(name_.host).up_blocked_until;
    const absl::Time ready = std::max({next.due, open_at, network_.coordinator_->PausedUntil()});
    if (ready > world_.now()) {
      up_.items.front().due = ready;
      return SchedulePump(&up_);
    }
    Item<ConnectRequest> item = std::move(up_.items.front());
    up_.items.pop_front();
    if (item.end) return FinishServer();
    DeliverUp(std::move(item));
  }
}

void Connection::DeliverUp(Item<ConnectRequest> item) {
  if (server_incarnation_ == 0) {
    if (network_.coordinator_->Incarnation() == 0) {
      world_.Count(Fault::kConnectRefused);
      return OnCoordinatorDied();
    }
    server_incarnation_ = network_.coordinator_->Incarnation();
  }
  if (world_.now() - item.sent > kLease) world_.Count(Fault::kMessageLate);
  network_.CountArrival(name_, item.message);
  world_.Trace("up", name_.host, name_.stream_id, static_cast<int64_t>(item.message.message_case()));
  is_processing_ = true;
  network_.coordinator_->OnStreamMessage(
      shared_from_this(), std::move(item.message),
      [self = shared_from_this()](const absl::Status& status) { self->OnProcessed(status); });
}

void Connection::OnProcessed(const absl::Status& status) {
  is_processing_ = false;
  if (!status.ok()) return Close(status);
  if (!up_.items.empty()) SchedulePump(&up_);
}

void Connection::PumpDown() {
  down_.has_pump = false;
  while (!down_.items.empty() && agent_ != nullptr) {
    const Item<ConnectResponse>& next = down_.items.front();
    const absl::Time open_at = next.is_local ? next.due : network_.HostOf(name_.host).down_blocked_until;
    const absl::Time ready = std::max({next.due, open_at, agent_->PausedUntil()});
    if (ready > world_.now()) {
      down_.items.front().due = ready;
      return SchedulePump(&down_);
    }
    const Item<ConnectResponse> item = std::move(down_.items.front());
    down_.items.pop_front();
    if (item.end) {
      world_.Trace("stream closed", name_.host, name_.stream_id, static_cast<int64_t>(item.end->code()));
      // OnAgentDied may be called meanwhile.
      std::exchange(agent_, nullptr)->OnStreamClosed(name_.stream_id, *item.end);
      return;
    }
    if (world_.now() - item.sent > kLease) world_.Count(Fault::kMessageLate);
    world_.Trace("down", name_.host, name_.stream_id, static_cast<int64_t>(item.message.message_case()));
    agent_->OnStreamMessage(name_.stream_id, std::move(item.message));
  }
}

absl::Duration Network::Delay() {
  if (world_.Chance(options_.late_share)) return world_.Between(options_.delay_least, options_.late_most);
  return world_.Between(options_.delay_least, options_.delay_most);
}

std::shared_ptr<Connection> Network::Connect(const StreamName& name, AgentEnd* agent) {
  ForgetOld(name.host);
  auto connection = std::make_shared<Connection>(this, name, agent);
  connections_[name.host].push_back(connection);
  return connection;
}

void Network::ForgetOld(int64_t host) {
  auto& all = connections_[host];
  all.erase(std::remove_if(all.begin(), all.end(), [](const auto& connection) { return connection->is_over(); }),
            all.end());
}

void Network::ForgetOld() {
  for (const auto& [host, connections] : connections_) ForgetOld(host);
}

void Network::CountArrival(const StreamName& stream, const ConnectRequest& message) {
  Host& host = HostOf(stream.host);
  if (stream.agent_incarnation != host.agent_incarnation) {
    if (stream.agent_incarnation < host.agent_incarnation) return world_.Count(Fault::kMessageReordered);
    host.agent_incarnation = stream.agent_incarnation;
    host.newest_stream = host.newest_sequence = 0;
    host.call_ids.clear();
  }
  if (stream.stream_id < host.newest_stream) world_.Count(Fault::kMessageReordered);
  host.newest_stream = std::max(host.newest_stream, stream.stream_id);
  if (message.has_events()) {
    if (message.events().sequence() <= host.newest_sequence) world_.Count(Fault::kMessageAgain);
    host.newest_sequence = std::max(host.newest_sequence, message.events().sequence());
  } else if (message.has_rendezvous() && !host.call_ids.insert(message.rendezvous().call_id()).second) {
    world_.Count(Fault::kMessageAgain);
  }
}

bool Network::BreakStreams(int64_t host) {
  bool has_broken = false;
  for (const auto& connection : connections_[host]) {
    if (connection->is_over()) continue;
    connection->Break();
    has_broken = true;
  }
  return has_broken;
}

void Network::Partition(int64_t host, absl::Duration time, bool up, bool down) {
  world_.Count(Fault::kPartition);
  world_.Trace("partition", host, absl::ToInt64Milliseconds(time), (up ? 1 : 0) + (down ? 2 : 0));
  const absl::Time end = world_.now() + time;
  if (up) HostOf(host).up_blocked_until = std::max(HostOf(host).up_blocked_until, end);
  if (down) HostOf(host).down_blocked_until = std::max(HostOf(host).down_blocked_until, end);
  // A keepalive may find out before it is over.
  for (const auto& connection : connections_[host]) {
    const absl::Duration keepalive = world_.Between(options_.keepalive_most / 6, options_.keepalive_most);
    if (keepalive >= time) continue;
    world_.In(keepalive, [connection] { connection->Break(); });
  }
}

void Network::Heal() {
  options_.late_share = options_.call_loss = 0;
  for (auto& [number, host] : hosts_) {
    host.up_blocked_until = std::min(host.up_blocked_until, world_.now());
    host.down_blocked_until = std::min(host.down_blocked_until, world_.now());
  }
}

void Network::OnCoordinatorDied() {
  for (const auto& [host, connections] : connections_) {
    for (const auto& connection : connections) connection->OnCoordinatorDied();
  }
  ForgetOld();
  for (const auto& [number, call] : calls_) {
    if (call->server_incarnation != 0) {
      FailLater(call, world_.Between(absl::ZeroDuration(), absl::Milliseconds(200)), "the coordinator died");
    }
  }
}

void Network::FailLater(const std::shared_ptr<CallState>& call, absl::Duration delay, const char* why) {
  world_.In(delay, [this, call, why] {
    if (std::exchange(call->is_over, true)) return;
    calls_.erase(call->number);
    call->fail(absl::UnavailableError(why));
  });
}

void Network::StartCall(int64_t host, absl::Duration deadline, std::shared_ptr<CallState> call,
                        std::function<void()> serve) {
  call->number = ++num_calls_;
  calls_[call->number] = call;
  FailLater(call, deadline, "no answer in time");
  if (world_.Chance(options_.call_loss)) {
    world_.Count(Fault::kCallLost);
    return FailLater(call, world_.Between(options_.delay_least, options_.notice_most), "the call was lost");
  }
  const absl::Time arrival =
      std::max(world_.now() + Delay(), host == 0 ? absl::InfinitePast() : HostOf(host).up_blocked_until);
  world_.At(arrival, [this, host, call, serve = std::move(serve)] {
    if (coordinator_->Incarnation() == 0) {
      if (!call->is_over) world_.Count(Fault::kConnectRefused);
      return FailLater(call, Delay(), "connection refused");
    }
    if (call->is_over) world_.Count(Fault::kCallAgain);
    call->server_incarnation = coordinator_->Incarnation();
    if (coordinator_->PausedUntil() <= world_.now()) return coordinator_->OnCall(serve);
    world_.At(coordinator_->PausedUntil(), [this, call, serve] {
      if (call->server_incarnation == coordinator_->Incarnation()) coordinator_->OnCall(serve);
    });
  });
}

void Network::AnswerCall(int64_t host, const std::shared_ptr<CallState>& call, std::function<void()> deliver) {
  if (!coordinator_->MayLeave()) return;
  if (world_.Chance(options_.call_loss)) {
    world_.Count(Fault::kReplyLost);
    return FailLater(call, world_.Between(options_.delay_least, options_.notice_most), "the answer was lost");
  }
  call->server_incarnation = 0;
  const absl::Time arrival =
      std::max(world_.now() + Delay(), host == 0 ? absl::InfinitePast() : HostOf(host).down_blocked_until);
  world_.At(arrival, [this, call, deliver = std::move(deliver)] {
    if (std::exchange(call->is_over, true)) return;
    calls_.erase(call->number);
    deliver();
  });
}

}  // namespace ursa::sim
