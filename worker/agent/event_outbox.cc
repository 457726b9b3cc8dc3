#include "worker/agent/event_outbox.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/planted_bug.h"

namespace ursa {

using worker::v1::CheckpointSaved;
using worker::v1::TaskEvent;
using worker::v1::TaskEvents;

size_t EventOutbox::LogRoom(const ProcessKey& key) const {
  const auto it = queues_.find(key);
  const size_t used = it == queues_.end() ? 0 : it->second.log_bytes;
  return used < options_.log_bytes_max ? options_.log_bytes_max - used : 0;
}

std::vector<std::string> EventOutbox::BlobsOf(const TaskEvent& event) {
  std::vector<std::string> hashes;
  if (event.has_checkpoint()) {
    if (!event.checkpoint().model_blob().empty()) hashes.push_back(event.checkpoint().model_blob());
    if (!event.checkpoint().optimizer_blob().empty()) hashes.push_back(event.checkpoint().optimizer_blob());
  }
  return hashes;
}

void EventOutbox::Add(const ProcessKey& key, TaskEvent event, int64_t event_id) {
  Queue& queue = queues_[key];
  if (event.has_checkpoint()) DropSuperseded(&queue, event.checkpoint());
  if (event.has_progress() && queue.progress.has_value()) Drop(&queue, *queue.progress);
  Entry entry;
  entry.bytes = event.ByteSizeLong() + 1;  // no event is free
  entry.event_id = event_id;
  if (!BlobsOf(event).empty()) entry.blob_phase = BlobPhase::kWaiting;
  entry.event = std::move(event);
  num_bytes_ += entry.bytes;
  const auto added = queue.entries.insert(queue.entries.end(), std::move(entry));
  if (added->event.has_log()) queue.log_bytes += added->bytes;
  if (added->event.has_progress()) queue.progress = added;
  if (added->event.has_exited()) queue.ended = true;
  if (added->blob_phase == BlobPhase::kWaiting) queue.checkpoints.push_back(added);
}

void EventOutbox::DropSuperseded(Queue* queue, const CheckpointSaved& newer) {
  const CheckpointPolicy policy = queue->policy.value_or(CheckpointPolicy());
  const double sign = policy.smaller_is_better ? 1 : -1;
  auto score = [&](const CheckpointSaved& checkpoint) -> std::optional<double> {
    const auto it = checkpoint.metrics().find(policy.metric);
    if (it == checkpoint.metrics().end()) return std::nullopt;
    return sign * it->second;
  };
  std::vector<double> scores;  // of all that wait and the newer one
  if (const auto s = score(newer)) scores.push_back(*s);
  for (const auto& entry : queue->checkpoints) {
    if (const auto s = score(entry->event.checkpoint())) scores.push_back(*s);
  }
  std::sort(scores.begin(), scores.end());
  const std::vector<Entries::iterator> waiting = queue->checkpoints;
  for (const auto& entry : waiting) {
    if (entry->blob_phase != BlobPhase::kWaiting || entry->event.checkpoint().last()) continue;
    const auto s = score(entry->event.checkpoint());
    const bool best =
        s.has_value() && std::lower_bound(scores.begin(), scores.end(), *s) - scores.begin() < policy.keep_best;
    if (!best) Drop(queue, entry);
  }
}

void EventOutbox::ReleaseBlobs(Queue* queue, Entries::iterator entry) {
  entry->blob_phase = BlobPhase::kNone;
  auto& checkpoints = queue->checkpoints;
  checkpoints.erase(std::find(checkpoints.begin(), checkpoints.end(), entry));
  released_.push_back(entry->event_id);
}

void EventOutbox::Drop(Queue* queue, Entries::iterator entry) {
  if (entry->blob_phase != BlobPhase::kNone) ReleaseBlobs(queue, entry);
  if (entry->event.has_log()) queue->log_bytes -= entry->bytes;
  if (entry->event.has_progress()) queue->progress.reset();
  num_bytes_ -= entry->bytes;
  queue->entries.erase(entry);
}

std::vector<EventOutbox::Upload> EventOutbox::TakeUploads() {
  std::vector<Upload> uploads;
  for (auto& [key, queue] : queues_) {
    // One at a time for each process: those behind it may yet be superseded.
    if (queue.checkpoints.empty() || queue.checkpoints.front()->blob_phase != BlobPhase::kWaiting) continue;
    Entry& entry = *queue.checkpoints.front();
    entry.blob_phase = BlobPhase::kUploading;
    uploads.push_back(Upload{entry.event_id, BlobsOf(entry.event)});
  }
  return uploads;
}

std::vector<int64_t> EventOutbox::TakeReleased() { return std::exchange(released_, {}); }

void EventOutbox::OnUploaded(int64_t event_id) {
  for (auto& [key, queue] : queues_) {
    for (const auto& entry : queue.checkpoints) {
      if (entry->event_id != event_id) continue;
      ReleaseBlobs(&queue, entry);
      return;
    }
  }
}

void EventOutbox::OnUploadFailed(int64_t event_id, const std::string& reason) {
  for (auto& [key, queue] : queues_) {
    for (const auto& entry : queue.checkpoints) {
      if (entry->event_id != event_id) continue;
      if (entry->event.checkpoint().last()) {
        ReleaseBlobs(&queue, entry);
        num_bytes_ -= entry->bytes;
        auto* finished = entry->event.mutable_finished();
        finished->set_outcome(worker::v1::TaskFinished::OUTCOME_FAILED);
        finished->set_reason(reason);
        entry->bytes = entry->event.ByteSizeLong() + 1;
        num_bytes_ += entry->bytes;
      } else {
        Drop(&queue, entry);
      }
      return;
    }
  }
}

void EventOutbox::DropWaitingCheckpoints(const ProcessKey& key) {
  const auto it = queues_.find(key);
  if (it == queues_.end()) return;
  const std::vector<Entries::iterator> waiting = it->second.checkpoints;
  for (const auto& entry : waiting) Drop(&it->second, entry);
}

size_t EventOutbox::Fill(const ProcessKey& key, Queue* queue, size_t bytes, TaskEvents* message) {
  size_t moved = 0;
  while (!queue->entries.empty() && bytes + moved < options_.message_bytes_aim) {
    const auto entry = queue->entries.begin();
    // An event may be as large as 3 MiB: it goes alone rather than over the receiver's limit.
    if ((entry->blob_phase != BlobPhase::kNone && !URSA_PLANTED_BUG(report_before_upload)) ||
        (bytes + moved > 0 && bytes + moved + entry->bytes > 2 * options_.message_bytes_aim))
      break;
    if (URSA_PLANTED_BUG(report_before_upload) && entry->blob_phase != BlobPhase::kNone) ReleaseBlobs(queue, entry);
    if (entry->event.has_log()) queue->log_bytes -= entry->bytes;
    if (entry->event.has_progress()) queue->progress.reset();
    moved += entry->bytes;
    auto* stamped = message->add_events();
    stamped->set_task_id(key.task_id);
    stamped->set_epoch(key.epoch);
    stamped->set_rank(key.rank);
    *stamped->mutable_event() = std::move(entry->event);
    queue->entries.erase(entry);
  }
  return moved;
}

std::vector<TaskEvents> EventOutbox::TakeMessages() {
  while (in_flight_.size() < options_.messages_in_flight_max) {
    InFlight next;
    for (auto it = queues_.begin(); it != queues_.end();) {
      next.bytes += Fill(it->first, &it->second, next.bytes, &next.message);
      const bool more_may_come = it->second.policy.has_value() && !it->second.ended;
      it = it->second.entries.empty() && !more_may_come ? queues_.erase(it) : std::next(it);
    }
    if (next.message.events_size() == 0) break;
    next.message.set_sequence(next_sequence_++);
    in_flight_.push_back(std::move(next));
  }
  std::vector<TaskEvents> messages;
  for (; num_sent_ < in_flight_.size(); ++num_sent_) messages.push_back(in_flight_[num_sent_].message);
  return messages;
}

void EventOutbox::OnAck(int64_t sequence) {
  while (!in_flight_.empty() &&
         (in_flight_.front().message.sequence() <= sequence || URSA_PLANTED_BUG(drop_what_is_in_flight)) &&
         num_sent_ > 0) {
    num_bytes_ -= in_flight_.front().bytes;
    in_flight_.pop_front();
    --num_sent_;
  }
}

}  // namespace ursa
