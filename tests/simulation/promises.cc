#include "tests/simulation/promises.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/ids.h"
#include "storage/keys.h"

namespace ursa::sim {
namespace {

// What is decided is durable at the latest after so long, on a slow disk.
constexpr absl::Duration kWrittenIn = absl::Seconds(10);

}  // namespace

using worker::v1::ConnectRequest;
using worker::v1::ConnectResponse;
using worker::v1::TaskEvent;

void Promises::OnHeard(const StreamName& stream, const ConnectRequest& message) {
  Agent& agent = agents_[stream.host];
  if (stream.agent_incarnation > agent.incarnation) {
    agent = Agent();
    agent.incarnation = stream.agent_incarnation;
  }
  if (stream.agent_incarnation != agent.incarnation) return;
  // A Hello that is taken replaces the stream before, though its welcome leaves later: what comes by the old one is not
  // heard.
  if (message.has_hello()) agent.hello_stream_id = stream.stream_id;
  if (stream.stream_id == agent.stream_id && stream.stream_id == agent.hello_stream_id) Hear(&agent);
  if (!message.has_events()) return;
  std::vector<Effect>& effects = agent.effects[message.events().sequence()];
  effects.clear();
  for (const worker::v1::StampedEvent& stamped : message.events().events()) {
    const auto job = ParseJob(stamped.task_id());
    if (!job) continue;
    const TaskEvent& event = stamped.event();
    Effect effect{*job,
                  stamped.epoch(),
                  stamped.rank(),
                  event.event_case(),
                  event.checkpoint().step(),
                  event.lost_group().epoch(),
                  ""};
    if (event.has_metrics() && event.metrics().points_size() > 0) {
      const auto& point = event.metrics().points(event.metrics().points_size() - 1);
      effect.metric_key = MetricKey({static_cast<uint64_t>(job->first), static_cast<uint32_t>(job->second)},
                                    point.name(), static_cast<uint64_t>(point.step()));
    }
    effects.push_back(std::move(effect));
  }
}

void Promises::Hear(Agent* agent) {
  if (world_.now() - agent->last_heard >= lease_ * 0.99) {
    agent->earlier_silence = std::exchange(agent->last_silence, world_.now());
  }
  // What is decided before a standstill of the coordinator may be durable only after it.
  if (world_.now() - agent->last_heard > lease_ * 0.5) agent->heard_before_gap = agent->last_heard;
  agent->last_heard = world_.now();
}

void Promises::OnTold(const StreamName& stream, const ConnectResponse& message) {
  Agent& agent = agents_[stream.host];
  if (message.has_desired()) return OnOrders(message.desired());
  if (stream.agent_incarnation != agent.incarnation) return;
  if (message.has_welcome()) {
    agent.stream_id = stream.stream_id;
    // When it was heard of is told by its own messages: a welcome may be durable long after its Hello was heard.
    agent.worker_id = WorkerId::Parse(message.welcome().worker_id()).value_or(WorkerId()).number();
    hosts_[agent.worker_id] = stream.host;
    if (invariants_.workers().count(agent.worker_id) == 0) {
      invariants_.Fail(absl::StrCat("w", agent.worker_id, ": is welcomed before it is durable"));
    }
  } else if (message.has_ack()) {
    const auto end = agent.effects.upper_bound(message.ack().sequence());
    for (auto it = agent.effects.begin(); it != end; it = agent.effects.erase(it)) {
      for (const Effect& effect : it->second) CheckEffect(effect);
    }
  }
}

void Promises::OnOrders(const worker::v1::DesiredState& desired) {
  for (const worker::v1::TaskOrder& order : desired.orders()) {
    const auto key = ParseJob(order.assignment().task_id());
    const Job* job = key ? invariants_.FindJob(*key) : nullptr;
    if (key && (job == nullptr || job->epoch < order.assignment().epoch())) {
      invariants_.Fail(
          absl::StrCat(ToString(*key), ": epoch ", order.assignment().epoch(), " is ordered before it is durable"));
    }
  }
}

void Promises::CheckEffect(const Effect& effect) {
  const Job* job = invariants_.FindJob(effect.job);
  if (job == nullptr || !job->has_gang() || job->is_ending) return;
  const Rank& rank = job->ranks[static_cast<size_t>(effect.rank)];
  if (rank.epoch != effect.epoch) return;
  const std::string subject = absl::StrCat(ToString(effect.job), " rank ", effect.rank, " epoch ", effect.epoch, ": ");
  if (effect.kind == TaskEvent::kExited && !rank.gone) {
    invariants_.Fail(absl::StrCat(subject, "its end is acknowledged, but not durable"));
  }
  if (rank.gone) return;
  if (effect.kind == TaskEvent::kCheckpoint && job->latest_step() < effect.step && !job->keeps_best_only) {
    invariants_.Fail(
        absl::StrCat(subject, "its checkpoint at step ", effect.step, " is acknowledged, but not durable"));
  }
  if (effect.kind == TaskEvent::kFinished && rank.outcome == worker::v1::TaskFinished::OUTCOME_UNSPECIFIED) {
    invariants_.Fail(absl::StrCat(subject, "its outcome is acknowledged, but not durable"));
  }
  if (effect.kind == TaskEvent::kLostGroup && job->epoch == effect.group_epoch && job->has_group) {
    invariants_.Fail(absl::StrCat(subject, "that it has lost its group is acknowledged, but not durable"));
  }
  if (effect.kind == TaskEvent::kJoinedGroup && rank.joining) {
    invariants_.Fail(absl::StrCat(subject, "that it has joined its group is acknowledged, but not durable"));
  }
  if (effect.kind == TaskEvent::kMetrics && !effect.metric_key.empty() && !invariants_.HasMetric(effect.metric_key)) {
    invariants_.Fail(absl::StrCat(subject, "a metric point is acknowledged, but not durable"));
  }
}

void Promises::CheckExperiment(const v1::Experiment& experiment) {
  const int64_t id = ExperimentId::Parse(experiment.experiment_id()).value_or(ExperimentId()).number();
  const auto known = invariants_.experiments().find(id);
  if (known == invariants_.experiments().end() ||
      (IsEnd(experiment.state()) && known->second.state != experiment.state())) {
    invariants_.Fail(absl::StrCat("e", id, ": is shown as ", v1::Experiment::State_Name(experiment.state()),
                                  " before that is durable"));
  }
}

void Promises::OnDeath() {
  for (auto& [host, agent] : agents_) {
    agent.effects.clear();
    agent.stream_id = 0;
    agent.last_heard = absl::InfinitePast();
  }
}

void Promises::OnLost(int64_t worker_id) {
  if (world_.now() - started_at_ < lease_ * 0.99) {
    return invariants_.Fail(absl::StrCat("w", worker_id, ": is lost ", absl::FormatDuration(world_.now() - started_at_),
                                         " after the coordinator's start, before it could be heard of"));
  }
  const auto host = hosts_.find(worker_id);
  if (host == hosts_.end()) return;
  const Agent& agent = agents_[host->second];
  const absl::Time silence = agent.last_silence <= paused_at_ ? agent.last_silence : agent.earlier_silence;
  if (agent.worker_id == worker_id && world_.now() - resumed_at_ < lease_ * 0.99 &&
      paused_at_ - (agent.last_heard > paused_at_ ? agent.heard_before_gap : agent.last_heard) < lease_ * 0.99 &&
      paused_at_ - silence >= kWrittenIn) {
    return invariants_.Fail(absl::StrCat("w", worker_id, ": is lost because the coordinator stood still for ",
                                         absl::FormatDuration(resumed_at_ - paused_at_)));
  }
  // It may have been decided some time before it is durable, and the worker heard of since.
  if (agent.worker_id != worker_id || world_.now() - agent.last_heard >= lease_ * 0.99 ||
      world_.now() - agent.last_silence < kWrittenIn) {
    return;
  }
  invariants_.Fail(absl::StrCat("w", worker_id, ": is lost, but was heard of ",
                                absl::FormatDuration(world_.now() - agent.last_heard), " ago"));
}

}  // namespace ursa::sim
