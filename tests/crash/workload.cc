#include "tests/crash/workload.h"

#include <algorithm>
#include <utility>

#include "tests/crash/process.h"

namespace ursa::crash {
namespace {

constexpr absl::Duration kIdlePoll = absl::Milliseconds(20);

}  // namespace

Workload::Workload(int num_clients, uint64_t seed, NewSubject new_subject)
    : new_subject_(std::move(new_subject)), clients_(num_clients) {
  for (int i = 0; i < num_clients; ++i) {
    clients_[i].rng = SeededRng(seed + static_cast<uint64_t>(i) + 1);
    clients_[i].thread = std::thread([this, i] { Loop(i); });
  }
}

Workload::~Workload() {
  {
    absl::MutexLock lock(&mu_);
    is_ending_ = true;
  }
  for (Client& client : clients_) client.thread.join();
}

void Workload::Run(std::shared_ptr<Api> api) {
  for (Client& client : clients_) client.is_stuck = false;
  absl::MutexLock lock(&mu_);
  api_ = std::move(api);
}

void Workload::Pause() {
  absl::MutexLock lock(&mu_);
  api_ = nullptr;
  auto nobody_works = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return num_working_ == 0; };
  mu_.Await(absl::Condition(&nobody_works));
}

void Workload::Loop(int client_index) {
  Client& client = clients_[client_index];
  while (true) {
    std::shared_ptr<Api> api;
    {
      absl::MutexLock lock(&mu_);
      auto may_work = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return api_ != nullptr || is_ending_; };
      mu_.Await(absl::Condition(&may_work));
      if (is_ending_) return;
      api = api_;
      ++num_working_;
    }
    if (!StepOne(&client, client_index, api.get())) LetPass(kIdlePoll);
    absl::MutexLock lock(&mu_);
    --num_working_;
  }
}

// Whether there was anything to do.
bool Workload::StepOne(Client* client, int client_index, Api* api) {
  if (client->is_stuck) return false;
  if (client->at_work.size() < at_work_max_ && makes_new_ && (client->at_work.empty() || client->rng.Below(4) == 0)) {
    if (std::unique_ptr<Subject> subject = new_subject_(client_index, &client->rng)) {
      client->at_work.push_back(subject.get());
      client->subjects.push_back(std::move(subject));
    }
  }
  if (client->at_work.empty()) return false;
  const size_t index = client->rng.Below(client->at_work.size());
  Subject* const subject = client->at_work[index];
  const absl::Status status = subject->Step(api, &client->rng);
  if (subject->IsDone()) client->at_work.erase(client->at_work.begin() + static_cast<std::ptrdiff_t>(index));
  if (status.ok()) return true;
  client->is_stuck = true;
  if (MayHaveHappened(status)) return true;
  absl::MutexLock lock(&mu_);
  finding_.Update(status);
  return true;
}

absl::Status Workload::Check(Api* api, double share, Rng* rng) {
  for (Client& client : clients_) {
    for (const std::unique_ptr<Subject>& subject : client.subjects) {
      const bool is_at_work =
          std::find(client.at_work.begin(), client.at_work.end(), subject.get()) != client.at_work.end();
      if (!is_at_work && rng->Uniform() >= share) continue;
      const absl::Status status = subject->Check(api, rng);
      if (MayHaveHappened(status)) return absl::UnavailableError(status.message());
      if (!status.ok()) return absl::InternalError(subject->name() + ": " + status.ToString());
      if (subject->IsDone()) {
        client.at_work.erase(std::remove(client.at_work.begin(), client.at_work.end(), subject.get()),
                             client.at_work.end());
      }
    }
  }
  return absl::OkStatus();
}

absl::Status Workload::finding() const {
  absl::MutexLock lock(&mu_);
  return finding_;
}

bool Workload::IsIdle() const {
  return std::all_of(clients_.begin(), clients_.end(), [](const Client& client) { return client.at_work.empty(); });
}

std::string Workload::AtWork() const {
  std::string names;
  for (const Client& client : clients_) {
    for (const Subject* subject : client.at_work) names += " " + subject->name();
  }
  return names;
}

Tally Workload::tally() const {
  Tally all;
  for (const Client& client : clients_) {
    for (const auto& subject : client.subjects) all.Add(subject->tally());
  }
  return all;
}

std::map<std::string, int> Workload::ExpectedAudit() const {
  std::map<std::string, int> expected;
  for (const Client& client : clients_) {
    for (const auto& subject : client.subjects) {
      if (!subject->IsUncertain()) subject->AddAudit(&expected);
    }
  }
  return expected;
}

size_t Workload::num_subjects() const {
  size_t count = 0;
  for (const Client& client : clients_) count += client.subjects.size();
  return count;
}

}  // namespace ursa::crash
