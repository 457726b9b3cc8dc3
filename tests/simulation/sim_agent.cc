#include "tests/simulation/sim_agent.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "base/digest.h"
#include "base/log.h"
#include "tests/simulation/blob_calls.h"

namespace ursa::sim {
namespace {

using worker::v1::TaskEvent;

// So old may an answer be that a blob is there, and so much older when it is named (garbage_age in simulation.cc).
constexpr absl::Duration kCallDeadline = absl::Seconds(4);

}  // namespace

SimAgent::SimAgent(const Cluster& cluster, int64_t host, const Options& options)
    : cluster_(cluster), world_(*cluster.world), host_(host), options_(options), clock_(cluster.world) {}

SimAgent::~SimAgent() = default;

// ---- the machine

void SimAgent::Boot() {
  if (is_up()) return;
  ++incarnation_;
  world_.Trace("agent starts", host_, incarnation_);
  clock_.Jump(std::exchange(clock_jump_, absl::ZeroDuration()));
  worker::v1::Hello hello = options_.hello;
  hello.set_worker_id(worker_id_);
  hello.set_starts(incarnation_);
  hello.set_incarnation(absl::StrCat("host ", host_, " life ", incarnation_));
  rng_ = std::make_unique<SeededRng>(world_.rng()->Next());
  state_ = std::make_unique<AgentState>(options_.state, std::move(hello), rng_.get());
  upload_backoff_.emplace(options_.retry, rng_.get());
  ScheduleTurn(world_.now());
}

void SimAgent::Kill(absl::Duration downtime, bool replaced) {
  if (!is_up()) return;
  world_.Count(Fault::kAgentKilled);
  world_.Trace("agent killed", host_, incarnation_);
  if (replaced) {
    world_.Count(Fault::kMachineReplaced);
    worker_id_.clear();
    cache_.clear();
  }
  downtime_ = downtime;
  Die();
}

void SimAgent::Shutdown(absl::Duration downtime) {
  if (!is_up()) return;
  world_.Trace("agent is asked to end", host_, incarnation_);
  downtime_ = downtime;
  Post([this] { state_->BeginShutdown(); });
}

void SimAgent::Die() {
  if (connection_ != nullptr) connection_->OnAgentDied();
  connection_ = nullptr;
  for (auto& [id, process] : processes_) {
    if (process.task != nullptr) process.task->OnDeath();
  }
  processes_.clear();
  state_ = nullptr;
  rng_ = nullptr;
  mailbox_.clear();
  turn_at_ = absl::InfiniteFuture();
  ++turn_number_;
  reports_.clear();
  calls_.clear();
  uploads_.clear();
  wanted_uploads_.clear();
  for (auto& [hash, blob] : cache_) blob.pins.clear();
  paused_until_ = absl::InfinitePast();
  ++incarnation_;
  world_.In(downtime_, [this] { Boot(); });
}

void SimAgent::Pause(absl::Duration time) {
  if (!is_up()) return;
  world_.Count(Fault::kAgentPaused);
  world_.Trace("machine paused", host_, absl::ToInt64Milliseconds(time));
  paused_until_ = std::max(paused_until_, world_.now() + time);
}

void SimAgent::Skew(double rate, absl::Duration jump) {
  world_.Count(Fault::kClockSkewed);
  clock_.SetRate(rate);
  clock_jump_ += jump;
  if (is_up()) ScheduleTurn(world_.now());
}

bool SimAgent::KillTask() {
  if (processes_.empty()) return false;
  auto it = processes_.begin();
  std::advance(it, world_.Below(static_cast<int64_t>(processes_.size())));
  if (it->second.task == nullptr) return false;
  world_.Count(Fault::kTaskFailed);
  Exit(it->first, 0, 9);
  return true;
}

void SimAgent::EvictBlobs() {
  for (auto it = cache_.begin(); it != cache_.end();) {
    const bool goes = it->second.pins.empty() && world_.Chance(0.5);
    if (goes) world_.Count(Fault::kBlobEvicted);
    it = goes ? cache_.erase(it) : std::next(it);
  }
}

int64_t SimAgent::num_training() const {
  return std::count_if(processes_.begin(), processes_.end(),
                       [](const auto& entry) { return ParseJob(entry.second.key.task_id).has_value(); });
}

bool SimAgent::Runs(const ProcessKey& key) const {
  return std::any_of(processes_.begin(), processes_.end(),
                     [&key](const auto& entry) { return entry.second.key == key && entry.second.task != nullptr; });
}

// ---- turns

void SimAgent::InLife(absl::Duration delay, std::function<void()> then) {
  world_.In(delay, [this, incarnation = incarnation_, then = std::move(then)]() mutable {
    if (incarnation != incarnation_) return;
    if (paused_until_ > world_.now()) return InLife(paused_until_ - world_.now(), std::move(then));
    then();
  });
}

void SimAgent::Post(std::function<void()> input) {
  mailbox_.push_back(std::move(input));
  ScheduleTurn(world_.now() + world_.Between(absl::ZeroDuration(), options_.turn_most));
}

void SimAgent::ScheduleTurn(absl::Time time) {
  if (turn_at_ <= time) return;
  turn_at_ = time;
  world_.At(time, [this, number = ++turn_number_] {
    if (number == turn_number_) Turn();
  });
}

void SimAgent::Turn() {
  turn_at_ = absl::InfiniteFuture();
  if (paused_until_ > world_.now()) return ScheduleTurn(paused_until_);
  const std::vector<std::function<void()>> inputs = std::exchange(mailbox_, {});
  for (const auto& input : inputs) input();
  const int64_t incarnation = incarnation_;
  for (AgentAction& action : state_->TakeActions(clock_.Now())) {
    std::visit([this](auto& typed) { Do(std::move(typed)); }, action);
    if (incarnation != incarnation_) return;  // it has ended
  }
  const absl::Time next = state_->NextWakeup();
  if (next != absl::InfiniteFuture()) ScheduleTurn(std::max(world_.now(), clock_.ToWorld(next)));
}

// ---- processes

void SimAgent::Do(TaskTable::Start action) {
  const int64_t process_id = next_id_++;
  if (ParseJob(action.key.task_id) && num_training() >= options_.hello.slots()) {
    cluster_.invariants->Fail(absl::StrCat("host ", host_, ": starts ", action.key.ToString(), " beside ",
                                           num_training(), " others on ", options_.hello.slots(), " slots"));
  }
  if (start_failures_ && world_.Chance(options_.start_failure_share)) {
    world_.Count(Fault::kStartFailed);
    worker::v1::TaskExited exited;
    exited.set_exit_code(127);
    exited.set_last_words("worker: cannot fork");
    state_->OnEnded(action.key, exited);
    return Post([] {});
  }
  world_.Trace("task starts", host_, process_id, action.key.epoch);
  Process process{action.key, MakeTask(this, process_id, action.key, action.assignment),
                  LogCollector({}, clock_.Now())};
  SimTask* task = process.task.get();
  processes_.emplace(process_id, std::move(process));
  state_->OnStarted(action.key);
  task->Start();
}

void SimAgent::Do(TaskTable::TellStop action) {
  for (auto& [id, process] : processes_) {
    if (process.key == action.key && process.task != nullptr) process.task->OnStop(action.keeps_state);
  }
}

void SimAgent::Do(TaskTable::Reform action) {
  for (auto& [id, process] : processes_) {
    if (process.key == action.key && process.task != nullptr) process.task->OnReform(action.epoch);
  }
}

void SimAgent::Do(TaskTable::Kill action) {
  std::vector<int64_t> ids;
  for (const auto& [id, process] : processes_) {
    if (process.key == action.key && process.task != nullptr) ids.push_back(id);
  }
  for (const int64_t id : ids) Exit(id, 0, 9);
}

void SimAgent::Exit(int64_t process_id, int exit_code, int signal) {
  const auto it = processes_.find(process_id);
  if (it == processes_.end() || it->second.task == nullptr) return;
  world_.Trace("task ends", host_, process_id, exit_code * 100 + signal);
  worker::v1::TaskExited exited;
  exited.set_exit_code(exit_code);
  exited.set_signal(signal);
  // Its caller may be the task itself: it goes away when that has returned.
  const std::shared_ptr<SimTask> task = std::move(it->second.task);
  task->OnDeath();
  world_.In(absl::ZeroDuration(), [task] {});
  InLife(world_.Between(absl::Milliseconds(1), absl::Milliseconds(20)),
         [this, process_id, exited] { Reap(process_id, exited); });
}

void SimAgent::Reap(int64_t process_id, const worker::v1::TaskExited& exited) {
  const auto it = processes_.find(process_id);
  const ProcessKey key = it->second.key;
  worker::v1::TaskExited ended = exited;
  Post([this, key, ended, chunks = it->second.log.Finish(state_->LogRoom(key), clock_.Now()),
        last_words = it->second.log.LastWords()]() mutable {
    ended.set_last_words(last_words);
    state_->OnPrinted(key, std::move(chunks));
    state_->OnEnded(key, ended);
  });
  processes_.erase(it);
}

// ---- the coordinator

void SimAgent::OnStreamMessage(int64_t stream_id, worker::v1::ConnectResponse message) {
  Post([this, stream_id, message = std::move(message)] { state_->OnMessage(stream_id, message, clock_.Now()); });
}

void SimAgent::OnStreamClosed(int64_t stream_id, const absl::Status& status) {
  Post([this, stream_id, status] { state_->OnStreamClosed(stream_id, status, clock_.Now()); });
}

void SimAgent::Do(OpenStream action) {
  stream_id_ = action.stream_id;
  connection_ = cluster_.network->Connect({host_, incarnation_, action.stream_id}, this);
}

void SimAgent::Do(CloseStream action) {
  if (connection_ != nullptr && action.stream_id == stream_id_) connection_->CloseByAgent();
}

void SimAgent::Do(SendMessage action) {
  if (connection_ != nullptr && action.stream_id == stream_id_) connection_->SendUp(std::move(action.message));
}

void SimAgent::Do(ExitAgent action) {
  world_.Trace("agent ends", host_, incarnation_, static_cast<int64_t>(action.status.code()));
  if (!action.status.ok()) {
    cluster_.invariants->Fail(absl::StrCat("host ", host_, ": its agent was refused: ", action.status.ToString()));
  }
  Die();
}

// ---- transfers, as BlobFetcher and BlobUploader do them

void SimAgent::Fetch(int64_t process_id, const std::vector<std::string>& hashes, Fetched done) {
  FetchNext(process_id, hashes, {}, Backoff(options_.retry, rng_.get()), std::move(done));
}

void SimAgent::FetchNext(int64_t process_id, std::vector<std::string> hashes, std::vector<std::string> contents,
                         Backoff backoff, Fetched done) {
  while (contents.size() < hashes.size()) {
    const auto cached = cache_.find(hashes[contents.size()]);
    if (cached == cache_.end()) break;
    contents.push_back(cached->second.content);
  }
  if (contents.size() == hashes.size()) {
    return In(process_id, absl::ZeroDuration(),
              [contents = std::move(contents), done = std::move(done)] { done(contents); });
  }
  const std::string hash = hashes[contents.size()];
  cluster_.network->Call<std::string>(
      host_, kCallDeadline,
      [coordinator = cluster_.coordinator, hash](Done<std::string> answer) { answer(DownloadBlob(coordinator, hash)); },
      [this, incarnation = incarnation_, process_id, hash, hashes, contents, backoff,
       done](absl::StatusOr<std::string> content) mutable {
        if (incarnation != incarnation_) return;
        if (content.ok()) {
          cache_[hash].content = *content;
          return FetchNext(process_id, std::move(hashes), std::move(contents), backoff, std::move(done));
        }
        if (!absl::IsUnavailable(content.status())) {
          return In(process_id, absl::ZeroDuration(), [status = content.status(), done] { done(status); });
        }
        const absl::Duration wait = backoff.Next();
        In(process_id, wait,
           [=]() mutable { FetchNext(process_id, std::move(hashes), std::move(contents), backoff, std::move(done)); });
      });
}

void SimAgent::Do(UploadBlobs action) {
  wanted_uploads_.insert(action.event_id);
  uploads_.push_back({action.event_id, std::move(action.hashes)});
  if (uploads_.size() == 1) StartUpload();
}

void SimAgent::Do(ReleaseBlobs action) {
  wanted_uploads_.erase(action.event_id);
  for (auto& [hash, blob] : cache_) blob.pins.erase(action.event_id);
}

void SimAgent::StartUpload() {
  while (!uploads_.empty() && wanted_uploads_.count(uploads_.front().event_id) == 0) uploads_.pop_front();
  if (uploads_.empty()) return;
  const std::vector<std::string> hashes = uploads_.front().hashes;
  cluster_.network->Call<std::vector<std::string>>(
      host_, kCallDeadline,
      [coordinator = cluster_.coordinator, hashes](Done<std::vector<std::string>> answer) {
        answer(FindMissingBlobs(coordinator, hashes));
      },
      [this, incarnation = incarnation_](absl::StatusOr<std::vector<std::string>> missing) {
        if (incarnation != incarnation_) return;
        if (!missing.ok()) return UploadLater(missing.status());
        UploadNext(*std::move(missing));
      });
}

void SimAgent::UploadNext(std::vector<std::string> hashes) {
  if (hashes.empty()) return FinishUpload();
  const std::string hash = hashes.back();
  const auto cached = cache_.find(hash);
  if (cached == cache_.end()) {
    // It was released in between: nobody wants it.
    uploads_.pop_front();
    return StartUpload();
  }
  hashes.pop_back();
  cluster_.network->Call<bool>(
      host_, kCallDeadline,
      [coordinator = cluster_.coordinator, hash, content = cached->second.content](Done<bool> answer) {
        UploadBlob(coordinator, hash, content, std::move(answer));
      },
      [this, incarnation = incarnation_, hashes = std::move(hashes)](const absl::StatusOr<bool>& uploaded) {
        if (incarnation != incarnation_) return;
        if (!uploaded.ok()) return UploadLater(uploaded.status());
        UploadNext(hashes);
      });
}

void SimAgent::UploadLater(const absl::Status& status) {
  if (absl::IsInvalidArgument(status) || absl::IsDataLoss(status)) {
    cluster_.invariants->Fail(absl::StrCat("host ", host_, ": an upload is refused: ", status.ToString()));
  }
  InLife(upload_backoff_->Next(), [this] { StartUpload(); });
}

void SimAgent::FinishUpload() {
  const int64_t event_id = uploads_.front().event_id;
  uploads_.pop_front();
  upload_backoff_->Reset();
  if (wanted_uploads_.erase(event_id) > 0) Post([this, event_id] { state_->OnUploaded(event_id); });
  StartUpload();
}

// ---- calls of tasks

void SimAgent::In(int64_t process_id, absl::Duration delay, std::function<void()> then) {
  InLife(delay, [this, process_id, then = std::move(then)] {
    const auto it = processes_.find(process_id);
    if (it != processes_.end() && it->second.task != nullptr) then();
  });
}

std::string SimAgent::PutBlob(const std::string& content) {
  std::string hash = Sha256Hex(content);
  cache_[hash].content = content;
  return hash;
}

void SimAgent::Report(int64_t process_id, std::vector<TaskEvent> events, std::function<void(absl::Status)> done) {
  std::vector<int64_t> event_ids(events.size(), 0);
  for (size_t i = 0; i < events.size(); ++i) {
    for (const std::string& hash : EventOutbox::BlobsOf(events[i])) {
      if (event_ids[i] == 0) event_ids[i] = next_id_++;
      cache_[hash].pins.insert(event_ids[i]);
    }
  }
  const ProcessKey key = processes_.at(process_id).key;
  const int64_t report_id = next_id_++;
  reports_[report_id] = {process_id, std::move(done)};
  Post([this, key, report_id, events = std::move(events), event_ids = std::move(event_ids)]() mutable {
    state_->OnReport(key, report_id, std::move(events), std::move(event_ids), clock_.Now());
  });
}

void SimAgent::Do(AnswerReport action) {
  auto node = reports_.extract(action.report_id);
  if (node.empty()) return;
  In(node.mapped().first, absl::ZeroDuration(),
     [done = std::move(node.mapped().second), status = action.status] { done(status); });
}

void SimAgent::Rendezvous(int64_t process_id, worker::v1::StoreRequest request,
                          std::function<void(absl::StatusOr<worker::v1::StoreResponse>)> done) {
  const ProcessKey key = processes_.at(process_id).key;
  const int64_t call_id = next_id_++;
  calls_[call_id] = {process_id, std::move(done)};
  Post([this, key, call_id, request = std::move(request)]() mutable {
    state_->OnRendezvous(key, call_id, std::move(request), clock_.Now());
  });
}

void SimAgent::Do(AnswerRendezvous action) {
  auto node = calls_.extract(action.call_id);
  if (node.empty()) return;
  In(node.mapped().first, absl::ZeroDuration(),
     [done = std::move(node.mapped().second), response = std::move(action.response)] { done(response); });
}

void SimAgent::Print(int64_t process_id, const std::string& text) {
  Post([this, process_id, text] {
    const auto it = processes_.find(process_id);
    if (it == processes_.end()) return;
    const ProcessKey& key = it->second.key;
    state_->OnPrinted(key, it->second.log.Append(text, state_->LogRoom(key), clock_.Now()));
  });
}

}  // namespace ursa::sim
