#include "tests/simulation/invariants.h"

#include <algorithm>
#include <charconv>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/digest.h"
#include "base/log.h"
#include "coordinator/state/state.h"
#include "storage/keys.h"
#include "storage/metric_block.h"

namespace ursa::sim {
namespace {

int64_t ToNumber(std::string_view text) {
  int64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

// "17" or "17/2", as progress is stored.
JobKey ToJobKey(std::string_view id) {
  const size_t slash = id.find('/');
  return {ToNumber(id.substr(0, slash)), slash == std::string_view::npos ? 1 : ToNumber(id.substr(slash + 1))};
}

// A new epoch of a gang that goes on with ranks of an older one.
bool IsReformed(const Job& before, const Job& job) {
  return before.has_gang() &&
         std::any_of(job.ranks.begin(), job.ranks.end(), [&job](const Rank& rank) { return rank.epoch < job.epoch; });
}

// Whether one of `epochs` is of a process that the gang has; or had, when its end is the same change.
bool IsOfPresent(const std::set<int64_t>& epochs, const Job& before, const Job& job) {
  if (epochs.count(job.epoch) > 0) return true;
  const std::vector<Rank>& ranks = job.has_gang() ? job.ranks : before.ranks;
  return std::any_of(ranks.begin(), ranks.end(), [&](const Rank& rank) { return epochs.count(rank.epoch) > 0; });
}

const Checkpoint* FindCheckpoint(const Job& job, int64_t id) {
  const auto it = std::find_if(job.checkpoints.begin(), job.checkpoints.end(),
                               [id](const Checkpoint& checkpoint) { return checkpoint.id == id; });
  return it == job.checkpoints.end() ? nullptr : &*it;
}

}  // namespace

void Invariants::OnDurable(const WriteBatch& batch) {
  for (const WriteBatch::Operation& operation : batch.operations()) {
    const std::string& key = operation.first;
    const bool is_put = operation.kind == WriteBatch::Kind::kPut;
    if (key[0] == static_cast<char>(KeyPrefix::kRecord)) {
      const auto name = ParseRecordKey(key);
      // The first byte of a value is its format.
      OnRecord(name->table, name->id, is_put ? std::string_view(operation.second).substr(1) : "", !is_put);
    } else if (key[0] == static_cast<char>(KeyPrefix::kBlob)) {
      const std::string hash = *ParseHashKey(KeyPrefix::kBlob, key);
      if (is_put) {
        blobs_.insert(hash);
      } else {
        blobs_.erase(hash);
        touched_.deleted_blobs.push_back(hash);
        const auto told = told_blobs_.find(hash);
        if (told != told_blobs_.end() && world_.now() - told->second < garbage_age_ * 0.99) {
          Fail(absl::StrCat("blob ", hash, ": is deleted ", absl::FormatDuration(world_.now() - told->second),
                            " after somebody was told that it is stored"));
        }
      }
    } else if (key[0] == static_cast<char>(KeyPrefix::kMetric)) {
      metrics_.insert(key);
    } else if (key[0] == static_cast<char>(KeyPrefix::kMetricBlock) && is_put) {
      OnMetricBlock(key, operation.second);
    } else if (key[0] == static_cast<char>(KeyPrefix::kEvent)) {
      OnAuditRow(std::string_view(operation.second).substr(1));
    }
  }
  FinishBatch();
}

void Invariants::OnMetricBlock(const std::string& key, const std::string& value) {
  const auto parts = ParseMetricBlockKey(key);
  if (parts->level != 0) return;
  const auto samples = DecodeMetricLeaf(key, value);
  if (!samples.ok()) return Fail(std::string(samples.status().message()));
  const std::string name(parts->name);
  for (const MetricSample& sample : *samples) metrics_.insert(MetricKey(parts->trial, name, sample.step));
}

void Invariants::OnRecord(std::string_view table, std::string_view id, std::string_view bytes, bool is_delete) {
  const std::string name = absl::StrCat(std::string(table), "/", std::string(id));
  Reading reading;
  if (!is_delete) reading = ReadRecord(table, bytes);
  if (reading.job) {
    OnJob(reading.job->first, std::move(reading.job->second));
  } else if (reading.experiment) {
    OnExperiment(reading.experiment->first, std::move(reading.experiment->second));
  } else if (is_delete && readings_.count(name) > 0 && (table == "experiment" || table == "trial")) {
    Fail(absl::StrCat(name, ": an acknowledged job has vanished"));
  } else if (table == "worker") {
    OnWorkerRecord(id, bytes);
  } else if (table == "progress") {
    OnProgress(id, bytes);
  } else if (table == "request") {
    if (is_delete) {
      answers_.erase(std::string(id));
    } else {
      const auto record = Parse<records::RequestRecord>(bytes);
      const auto [it, is_new] = answers_.emplace(
          std::string(id), KeptAnswer{record.code(), record.code() == 0 ? record.response() : record.reason()});
      if (!is_new) Fail(absl::StrCat("request ", it->first, ": has taken effect twice"));
    }
  } else if (table == "audit" && !is_delete) {
    const auto head = Parse<records::AuditHeadRecord>(bytes);
    audit_head_ = {head.sequence(), head.hash()};
    touched_.audit = true;
  }
  ReplaceReading(name, std::move(reading));
}

// Takes away what the record meant before; what it means now is judged when the whole batch is known.
void Invariants::ReplaceReading(const std::string& name, Reading reading) {
  Reading& known = readings_[name];
  for (const Place& place : known.places) {
    const auto it = places_.find(place);
    if (it != places_.end() && it->second == name) places_.erase(it);
  }
  for (const std::string& hash : reading.blobs) {
    ++references_[hash];
    touched_.new_references.push_back(hash);
  }
  for (const std::string& hash : known.blobs) {
    const auto it = references_.find(hash);
    if (--it->second == 0) references_.erase(it);
  }
  if (!reading.places.empty()) touched_.records.insert(name);
  known = std::move(reading);
}

void Invariants::OnExperiment(int64_t id, Experiment experiment) {
  Experiment& known = experiments_[id];
  if (known.state == v1::Experiment::STATE_UNSPECIFIED) {
    const auto [named, is_new] = names_.emplace(experiment.name, id);
    if (!is_new) Fail(absl::StrCat("e", id, ": its request has made e", named->second, " before"));
  }
  if (IsEnd(known.state) && experiment.state != known.state) {
    Fail(absl::StrCat("e", id, ": had ended as ", v1::Experiment::State_Name(known.state), ", is now ",
                      v1::Experiment::State_Name(experiment.state)));
  }
  if (experiment.is_search && experiment.state == v1::Experiment::STATE_COMPLETED) {
    touched_.best_trials.emplace_back(id, experiment.best_trial);
  }
  known = std::move(experiment);
}

void Invariants::OnJob(const JobKey& key, Job job) {
  const std::string name = ToString(key);
  static const Job* const kNone = new Job();
  const auto it = jobs_.find(key);
  const Job& before = it == jobs_.end() ? *kNone : it->second;
  if (before.has_ended() && job.state != before.state) {
    Fail(absl::StrCat(name, ": had ended as ", v1::Experiment::State_Name(before.state), ", is now ",
                      v1::Experiment::State_Name(job.state)));
  }
  if (job.epoch < before.epoch) Fail(absl::StrCat(name, ": epoch went from ", before.epoch, " to ", job.epoch));
  if (job.restarts < before.restarts) {
    Fail(absl::StrCat(name, ": restarts went from ", before.restarts, " to ", job.restarts));
  }
  if (job.reason.find("is not stored") != std::string::npos) {
    Fail(absl::StrCat(name, ": a checkpoint is refused although its bytes were brought: ", job.reason));
  }
  if (job.has_gang() && (job.epoch != before.epoch || !before.has_gang())) {
    std::vector<int64_t> process_epochs;
    for (const Rank& rank : job.ranks) process_epochs.push_back(rank.epoch);
    if (IsReformed(before, job)) {
      CheckReform(name, before, job);
      groups_.OnReform(key, before.epoch, job.epoch, std::move(process_epochs));
    } else {
      CheckNewGang(name, key, before, job);
      groups_.OnGang(key, job.epoch, std::move(process_epochs));
    }
  }
  NoteGoneRanks(key, before, job);
  CheckCheckpoints(name, key, before, job);
  if (job.has_ended() && !before.has_ended()) CheckEnd(name, key, before, job);
  world_.Trace(v1::Experiment::State_Name(job.state).c_str(), key.first, job.epoch, job.latest_step());
  jobs_[key] = std::move(job);
  changed_[key] = world_.now();
}

// A rank of which there is nothing any more, or another process, is gone.
void Invariants::NoteGoneRanks(const JobKey& key, const Job& before, const Job& job) {
  for (size_t r = 0; r < before.ranks.size(); ++r) {
    const Rank& rank = before.ranks[r];
    const bool is_kept = r < job.ranks.size() && job.ranks[r].epoch == rank.epoch && !job.ranks[r].gone;
    if (rank.gone || is_kept) continue;
    touched_.gone_ranks.push_back({key, rank.epoch, static_cast<int32_t>(r), rank.place.first});
  }
}

void Invariants::CheckReform(const std::string& name, const Job& before, const Job& job) {
  if (job.ranks.size() != before.ranks.size()) {
    Fail(absl::StrCat(name, ": has ", job.ranks.size(), " ranks when it is re-formed, had ", before.ranks.size()));
    return;
  }
  for (size_t r = 0; r < job.ranks.size(); ++r) {
    const Rank& rank = job.ranks[r];
    if (rank.epoch == job.epoch) {
      if (!before.ranks[r].gone) Fail(absl::StrCat(name, ": rank ", r, " is replaced, and is not gone"));
      CheckPlace(name, rank);
    } else if (rank.epoch != before.ranks[r].epoch || rank.place != before.ranks[r].place) {
      Fail(absl::StrCat(name, ": rank ", r, " is kept, but not its process"));
    }
  }
}

void Invariants::CheckPlace(const std::string& name, const Rank& rank) {
  const auto worker = workers_.find(rank.place.first);
  if (worker == workers_.end() || worker->second.lost || worker->second.is_closed ||
      rank.place.second >= worker->second.slots) {
    Fail(absl::StrCat(name, ": is started on slot ", rank.place.second, " of w", rank.place.first,
                      ", which is lost, closed or has no such slot"));
  }
}

void Invariants::CheckNewGang(const std::string& name, const JobKey& key, const Job& before, const Job& job) {
  if (before.has_gang()) Fail(absl::StrCat(name, ": epoch ", job.epoch, " begins while ", before.epoch, " has a gang"));
  if (job.epoch <= before.epoch) Fail(absl::StrCat(name, ": a gang begins at the old epoch ", job.epoch));
  if (experiments_[key.first].is_pause_wanted) Fail(absl::StrCat(name, ": is started although it is paused"));
  if (job.has_ended()) Fail(absl::StrCat(name, ": is started although it has ended"));
  if (static_cast<int64_t>(job.ranks.size()) != job.slots) {
    Fail(absl::StrCat(name, ": needs ", job.slots, " slots, is started with ", job.ranks.size()));
  }
  for (const Rank& rank : job.ranks) CheckPlace(name, rank);
}

void Invariants::CheckCheckpoints(const std::string& name, const JobKey& key, const Job& before, const Job& job) {
  if (job.latest_step() < before.latest_step() && !job.keeps_best_only) {
    Fail(absl::StrCat(name, ": its latest checkpoint went back from step ", before.latest_step(), " to ",
                      job.latest_step()));
  }
  for (const Checkpoint& checkpoint : job.checkpoints) {
    const Checkpoint* known = FindCheckpoint(before, checkpoint.id);
    if (known != nullptr && known->model_blob == checkpoint.model_blob && known->step == checkpoint.step) continue;
    const auto made = made_.find(checkpoint.model_blob);
    if (made == made_.end() || made->second.key != key || made->second.step != checkpoint.step) {
      Fail(absl::StrCat(name, ": no rank of it made the checkpoint k", checkpoint.id, " at step ", checkpoint.step));
    } else if (!IsOfPresent(made->second.epochs, before, job)) {
      Fail(absl::StrCat(name, ": the checkpoint k", checkpoint.id, " at step ", checkpoint.step, " was made by epoch ",
                        *made->second.epochs.begin(), ", the present one is ", job.epoch));
    }
  }
}

void Invariants::CheckEnd(const std::string& name, const JobKey& key, const Job& before, const Job& job) {
  const Experiment& experiment = experiments_[key.first];
  // A search ends trials as it sees fit.
  if (experiment.is_search) return;
  if (job.state == v1::Experiment::STATE_COMPLETED &&
      completed_.count({key, before.has_gang() ? before.ranks[0].epoch : job.epoch}) == 0 &&
      completed_.count({key, job.epoch}) == 0) {
    Fail(absl::StrCat(name, ": is complete, but rank 0 of epoch ", job.epoch, " did not say so"));
  }
  if (job.state == v1::Experiment::STATE_COMPLETED) CheckPoints(name, key, job.latest_step());
  // The end of a gang of one rank may be one write: then the kind of its failure is not seen.
  if (job.state == v1::Experiment::STATE_ERROR && !before.has_lasting_failure && before.ranks.size() > 1 &&
      job.restarts < experiment.max_restarts) {
    Fail(absl::StrCat(name, ": is given up after ", job.restarts, " of ", experiment.max_restarts,
                      " restarts: ", job.reason));
  }
}

void Invariants::CheckPoints(const std::string& name, const JobKey& key, int64_t num_steps) {
  const TrialKey trial{static_cast<uint64_t>(key.first), static_cast<uint32_t>(key.second)};
  for (int64_t step = 1; step <= num_steps; ++step) {
    if (HasMetric(MetricKey(trial, "train_loss", static_cast<uint64_t>(step)))) continue;
    return Fail(absl::StrCat(name, ": is complete, but step ", step, " of ", num_steps, " has no metric point"));
  }
}

void Invariants::OnWorkerRecord(std::string_view id, std::string_view bytes) {
  const int64_t number = ToNumber(id);
  if (bytes.empty()) {
    workers_.erase(number);
    return;
  }
  const auto record = Parse<records::WorkerRecord>(bytes);
  DurableWorker& worker = workers_[number];
  if (record.lost()) touched_.lost_workers.push_back(number);
  if (record.lost() && !worker.lost && on_lost_) on_lost_(number);
  const bool was_closed = worker.is_closed;
  worker = {record.slots(), record.lost(), record.drained() || !record.set_aside().empty()};
  if (worker.is_closed && !was_closed && !record.drained() && on_set_aside_) on_set_aside_(number);
}

void Invariants::OnProgress(std::string_view id, std::string_view bytes) {
  const auto record = Parse<records::ProgressRecord>(bytes);
  const JobKey key = ToJobKey(id);
  int64_t& step = progress_[key];
  if (record.step() != step) changed_[key] = world_.now();
  step = record.step();
}

void Invariants::OnAuditRow(std::string_view bytes) {
  const auto row = Parse<records::AuditEventRecord>(bytes);
  if (audit_hash_.empty()) audit_hash_.assign(kDigestHexLength, '0');
  if (row.sequence() != audit_sequence_ + 1) {
    Fail(absl::StrCat("audit: row ", row.sequence(), " follows row ", audit_sequence_));
  } else if (row.previous_hash() != audit_hash_ || row.hash() != State::AuditHash(audit_hash_, row.payload())) {
    Fail(absl::StrCat("audit: row ", row.sequence(), " does not continue the chain"));
  }
  audit_sequence_ = row.sequence();
  audit_hash_ = row.hash();
  touched_.audit = true;
}

void Invariants::FinishBatch() {
  for (const std::string& name : touched_.records) {
    for (const Place& place : readings_[name].places) {
      const auto [it, is_new] = places_.emplace(place, name);
      if (!is_new && it->second != name) {
        Fail(absl::StrCat("slot ", place.second, " of w", place.first, ": has both ", it->second, " and ", name));
      }
    }
  }
  for (const std::string& hash : touched_.new_references) {
    if (references_.count(hash) > 0 && blobs_.count(hash) == 0) {
      Fail(absl::StrCat("blob ", hash, ": is referred to, but not stored"));
    }
  }
  for (const std::string& hash : touched_.deleted_blobs) {
    if (references_.count(hash) > 0 && blobs_.count(hash) == 0) {
      Fail(absl::StrCat("blob ", hash, ": is deleted, but still referred to"));
    }
  }
  for (const int64_t worker : touched_.lost_workers) {
    const auto it = places_.lower_bound({worker, INT32_MIN});
    if (it != places_.end() && it->first.first == worker && workers_[worker].lost) {
      Fail(absl::StrCat("w", worker, ": is lost, but slot ", it->first.second, " is still ", it->second, "'s"));
    }
  }
  for (const GoneRank& gone : touched_.gone_ranks) {
    // It may be heard of again in the very batch that says it was lost.
    const auto& lost = touched_.lost_workers;
    if (std::find(lost.begin(), lost.end(), gone.worker_id) != lost.end()) continue;
    if (workers_[gone.worker_id].lost || !runs_ || !runs_(gone.key, gone.epoch, gone.rank, gone.worker_id)) continue;
    Fail(absl::StrCat(ToString(gone.key), " rank ", gone.rank, " epoch ", gone.epoch, ": counts as gone, but runs on w",
                      gone.worker_id));
  }
  for (const JobKey& key : touched_.best_trials) {
    const Job& job = jobs_[key];
    if (job.state != v1::Experiment::STATE_COMPLETED || job.checkpoints.empty()) {
      Fail(absl::StrCat(ToString(key), ": is the best of a complete search, and has no model to take"));
    }
  }
  if (touched_.audit && audit_head_ != std::make_pair(audit_sequence_, audit_hash_)) {
    Fail(absl::StrCat("audit: the head is at ", audit_head_.first, ", the last row is ", audit_sequence_));
  }
  touched_ = Touched();
}

void Invariants::OnBlobTold(const std::string& hash) {
  if (blobs_.count(hash) == 0) Fail(absl::StrCat("blob ", hash, ": is said to be stored, and is not"));
  told_blobs_[hash] = world_.now();
}

void Invariants::OnCheckpointMade(const JobKey& key, int64_t epoch, int64_t step, const std::string& model_blob) {
  Made& made = made_[model_blob];
  made.key = key;
  made.step = step;
  made.epochs.insert(epoch);
}

void Invariants::CheckResume(const JobKey& key, int64_t step, const std::string& model_blob) {
  const auto made = made_.find(model_blob);
  if (made == made_.end() || made->second.key != key || made->second.step != step) {
    Fail(absl::StrCat(ToString(key), ": goes on from step ", step, " with a checkpoint of something else"));
  }
}

const Job* Invariants::FindJob(const JobKey& key) const {
  const auto it = jobs_.find(key);
  return it == jobs_.end() ? nullptr : &it->second;
}

int64_t Invariants::NumPlaces(int64_t worker_id) const {
  return std::distance(places_.lower_bound({worker_id, INT32_MIN}), places_.upper_bound({worker_id, INT32_MAX}));
}

absl::Time Invariants::LastChange(const JobKey& key) const {
  const auto it = changed_.find(key);
  return it == changed_.end() ? absl::InfinitePast() : it->second;
}

const Invariants::KeptAnswer* Invariants::FindAnswer(const std::string& request) const {
  const auto it = answers_.find(request);
  return it == answers_.end() ? nullptr : &it->second;
}

std::string FirstDifference(const std::string& a, const std::string& b) {
  const auto [in_a, in_b] = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  const auto line = [](const std::string& text, std::string::const_iterator at) {
    const size_t position = static_cast<size_t>(at - text.begin());
    size_t begin = text.rfind('\n', position == 0 ? 0 : position - 1);
    begin = begin == std::string::npos ? 0 : begin + 1;
    return text.substr(begin, text.find('\n', position) - begin);
  };
  return absl::StrCat("one has\n  ", absl::Utf8SafeCHexEscape(line(a, in_a)), "\nthe other\n  ",
                      absl::Utf8SafeCHexEscape(line(b, in_b)));
}

}  // namespace ursa::sim
