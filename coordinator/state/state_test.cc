#include "coordinator/state/state.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/rng.h"
#include "coordinator/state/task_name.h"

namespace ursa {

// Stands in for Commit, the only one who may apply.
class StateTestPeer {
 public:
  // Takes what Put returns: the mutation is used up.
  static Changes Apply(State* state, Mutation& mutation) { return Apply(state, std::move(mutation)); }
  static Changes Apply(State* state, Mutation&& mutation) {
    state->ChainAudit(&mutation);
    return state->Apply(std::move(mutation), State::CommitKey());
  }
};

namespace {

records::TrialRecord Trial(int64_t experiment, v1::Experiment::State state, int32_t priority = 50, int64_t number = 1) {
  records::TrialRecord record;
  record.set_experiment_id(experiment);
  record.set_number(number);
  record.set_state(state);
  record.mutable_demand()->set_queue_position(experiment);
  record.mutable_demand()->set_priority(priority);
  return record;
}

void AddRank(records::TrialRecord* trial, int64_t worker, int32_t slot, bool gone = false) {
  records::Rank* rank = trial->mutable_gang()->add_ranks();
  rank->set_worker_id(worker);
  rank->set_slot(slot);
  rank->set_gone(gone);
}

void AddCheckpoint(records::TrialRecord* trial, const std::string& blob) {
  trial->add_checkpoints()->set_model_blob(blob);
}

// What is left in a store after these mutations: the last bytes of each record.
class Records {
 public:
  void Add(const Mutation& mutation) {
    for (const auto& operation : mutation.operations()) {
      std::visit([this](const auto& typed) { AddTyped(typed); }, operation);
    }
  }
  State Load() const {
    State state;
    for (const auto& [key, bytes] : stored_) {
      Mutation mutation;
      bool must_be_stored = false;
      EXPECT_TRUE(State::AddStored(key.first, bytes, &mutation, &must_be_stored).ok());
      EXPECT_FALSE(must_be_stored) << key.first;
      StateTestPeer::Apply(&state, std::move(mutation));
    }
    return state;
  }

 private:
  template <typename Record>
  void AddTyped(const Mutation::PutOperation<Record>& put) {
    stored_[{std::string(EntityTraits<Record>::kTable), RecordId(put.key())}] = put.record().SerializeAsString();
  }
  template <typename Record>
  void AddTyped(const Mutation::DeleteOperation<Record>& deletion) {
    stored_.erase({std::string(EntityTraits<Record>::kTable), RecordId(deletion.key)});
  }

  std::map<std::pair<std::string, std::string>, std::string> stored_;
};

TEST(StateTest, QueuedTrialsWait) {
  State state;
  Mutation mutation;
  mutation.Put(Trial(1, v1::Experiment::STATE_QUEUED, 50))
      .Put(Trial(2, v1::Experiment::STATE_QUEUED, 90))
      .Put(Trial(3, v1::Experiment::STATE_QUEUED, 50))
      .Put(Trial(4, v1::Experiment::STATE_PAUSED, 99));
  const Changes changes = StateTestPeer::Apply(&state, mutation);
  EXPECT_EQ(changes.trials, (std::set<TrialId>{{1, 1}, {2, 1}, {3, 1}, {4, 1}}));
  EXPECT_EQ(state.waiting_trials(), (std::set<TrialId>{{1, 1}, {2, 1}, {3, 1}}));
}

TEST(StateTest, AQueuedTrialWithAGangDoesNotWaitYet) {
  State state;
  records::TrialRecord trial = Trial(1, v1::Experiment::STATE_QUEUED);
  AddRank(&trial, 7, 0);
  StateTestPeer::Apply(&state, Mutation().Put(trial));
  EXPECT_TRUE(state.waiting_trials().empty());
  EXPECT_EQ(state.gangs().count({1, 1}), 1u);
}

TEST(StateTest, GoneRanksFreeTheirSlots) {
  State state;
  records::TrialRecord trial = Trial(1, v1::Experiment::STATE_RUNNING);
  AddRank(&trial, 7, 0);
  AddRank(&trial, 7, 1);
  Changes changes = StateTestPeer::Apply(&state, Mutation().Put(trial));
  EXPECT_EQ(changes.workers, (std::set<int64_t>{7}));
  EXPECT_EQ(state.LoadOf(7).slots.size(), 2u);
  trial.mutable_gang()->mutable_ranks(0)->set_gone(true);
  StateTestPeer::Apply(&state, Mutation().Put(trial));
  EXPECT_EQ(state.LoadOf(7).slots, (std::map<int32_t, std::string>{{1, "t1.1"}}));
  EXPECT_EQ(state.LoadOf(7).trials.count({1, 1}), 1u);
  trial.clear_gang();
  StateTestPeer::Apply(&state, Mutation().Put(trial));
  EXPECT_TRUE(state.LoadOf(7).slots.empty());
  EXPECT_TRUE(state.LoadOf(7).trials.empty());
}

TEST(StateTest, TellsWhichBlobsLostTheirLastReference) {
  State state;
  records::TrialRecord trial = Trial(1, v1::Experiment::STATE_RUNNING);
  AddCheckpoint(&trial, "a");
  AddCheckpoint(&trial, "b");
  records::ModelVersionRecord version;
  version.mutable_version()->set_model("bears");
  version.mutable_version()->set_version(1);
  version.mutable_version()->set_weights_hash("a");
  StateTestPeer::Apply(&state, Mutation().Put(trial).Put(version));
  EXPECT_EQ(state.NumReferences("a"), 2);
  trial.clear_checkpoints();
  AddCheckpoint(&trial, "c");
  EXPECT_EQ(StateTestPeer::Apply(&state, Mutation().Put(trial)).unreferenced_blobs, (std::set<std::string>{"b"}));
  // A blob that moves from one entity to another within a mutation has kept a reference.
  records::TrialRecord other = Trial(2, v1::Experiment::STATE_RUNNING);
  AddCheckpoint(&other, "c");
  trial.clear_checkpoints();
  EXPECT_TRUE(StateTestPeer::Apply(&state, Mutation().Put(trial).Put(other)).unreferenced_blobs.empty());
}

TEST(StateTest, LatestVersionIsOfThatNameAlone) {
  State state;
  Mutation mutation;
  for (const auto& [name, version] :
       std::vector<std::pair<std::string, int64_t>>{{"a", 1}, {"b", 1}, {"b", 12}, {"ba", 3}}) {
    records::DatasetVersionRecord record;
    record.mutable_version()->set_dataset(name);
    record.mutable_version()->set_version(version);
    record.mutable_version()->set_manifest_hash(name + std::to_string(version));
    mutation.Put(record);
  }
  StateTestPeer::Apply(&state, mutation);
  EXPECT_EQ(state.FindLatestVersion<records::DatasetVersionRecord>("b")->version().version(), 12);
  EXPECT_EQ(state.FindLatestVersion<records::DatasetVersionRecord>("c"), nullptr);
  EXPECT_EQ(state.FindLatestVersion<records::DatasetVersionRecord>(""), nullptr);
  EXPECT_EQ(state.FindDatasetVersion("b", "b12"), 12);
  EXPECT_EQ(state.FindDatasetVersion("a", "b12"), 0);
}

TEST(StateTest, AuditEventsFormAChain) {
  State state;
  records::AuditPayload first;
  first.set_action("one");
  records::AuditPayload second;
  second.set_action("two");
  Mutation mutation;
  mutation.Audit(first).Audit(second);
  const auto rows = state.ChainAudit(&mutation);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].sequence(), 1);
  EXPECT_EQ(rows[0].previous_hash(), std::string(64, '0'));
  EXPECT_EQ(rows[1].previous_hash(), rows[0].hash());
  EXPECT_EQ(rows[1].hash(), State::AuditHash(rows[0].hash(), rows[1].payload()));
  EXPECT_NE(rows[1].hash(), State::AuditHash(rows[0].hash(), rows[1].payload() + "x"));
  EXPECT_EQ(state.audit_head().sequence(), 0);  // nothing is applied yet
}

TEST(StateTest, UnknownTablesAndDamagedRecordsAreDataLoss) {
  Mutation mutation;
  bool must_be_stored = false;
  EXPECT_EQ(State::AddStored("martians", "", &mutation, &must_be_stored).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(State::AddStored("experiment", "\xff\xff\xff", &mutation, &must_be_stored).code(),
            absl::StatusCode::kDataLoss);
  EXPECT_TRUE(mutation.empty());
  EXPECT_FALSE(must_be_stored);
}

// As an Ursa wrote it whose experiments had one trial, in themselves.
TEST(StateTest, AnOldExperimentComesInWithItsTrial) {
  records::ExperimentRecord old;
  old.set_id(7);
  old.mutable_spec()->mutable_resources()->set_slots_per_trial(2);
  old.mutable_spec()->mutable_resources()->set_priority(60);
  old.mutable_spec()->mutable_execution()->set_device("cpu");
  old.set_state(v1::Experiment::STATE_RUNNING);
  old.set_creator("admin");
  old.set_old_queue_position(3);
  old.set_old_epoch(4);
  old.mutable_old_gang()->set_epoch(4);
  old.mutable_old_gang()->add_ranks()->set_worker_id(2);
  old.set_old_restarts(1);
  old.add_old_checkpoints()->set_model_blob("weights");
  (*old.mutable_old_metrics())["valid_loss"] = 0.5;
  old.set_num_steps(30);

  Mutation mutation;
  bool must_be_stored = false;
  ASSERT_TRUE(State::AddStored("experiment", old.SerializeAsString(), &mutation, &must_be_stored).ok());
  EXPECT_TRUE(must_be_stored);
  Records stored;
  stored.Add(mutation);
  State state;
  StateTestPeer::Apply(&state, std::move(mutation));
  const auto* trial = state.Find<records::TrialRecord>(TrialId(7, 1));
  ASSERT_NE(trial, nullptr);
  EXPECT_EQ(trial->state(), v1::Experiment::STATE_RUNNING);
  EXPECT_EQ(trial->demand().slots(), 2);
  EXPECT_EQ(trial->demand().priority(), 60);
  EXPECT_EQ(trial->demand().queue_position(), 3);
  EXPECT_EQ(trial->epoch(), 4);
  EXPECT_EQ(trial->gang().ranks(0).worker_id(), 2);
  EXPECT_EQ(trial->restarts(), 1);
  EXPECT_EQ(trial->metrics().at("valid_loss"), 0.5);
  EXPECT_EQ(trial->num_steps(), 30);
  EXPECT_EQ(state.NumReferences("weights"), 1);
  EXPECT_EQ(state.LoadOf(2).trials.count({7, 1}), 1u);
  // What is written then is today's form, and reads as itself.
  EXPECT_EQ(stored.Load().DebugExport(), state.DebugExport());
}

// Their ids in the store are those of the time when there was no other trial.
TEST(StateTest, RecordsOfTheFirstTrialKeepTheirIds) {
  EXPECT_EQ(RecordId(PerTrialKey{{17, 1}}), "17");
  EXPECT_EQ(RecordId(PerTrialKey{{17, 2}}), "17/2");
  EXPECT_EQ(RecordId(TrialEpochKey{{17, 1}, 3}), "17/3");
  EXPECT_EQ(RecordId(TrialEpochKey{{17, 2}, 3}), "17/3/2");
  records::ProgressRecord old;
  old.set_experiment_id(17);
  EXPECT_EQ(EntityTraits<records::ProgressRecord>::KeyOf(old).trial, TrialId(17, 1));
}

TEST(StateTest, TaskNames) {
  EXPECT_EQ(TaskName({17, 2}), "t17.2");
  EXPECT_EQ(ParseTaskName("t17.2"), TrialId(17, 2));
  for (const char* text : {"", "t17", "t17.", "t17.0", "t17.02", "t017.2", "e17.2", "t17.2.3", "t-1.2", "t17.x"}) {
    EXPECT_FALSE(ParseTaskName(text)) << text;
  }
}

// One random put or delete of one of many kinds.
Mutation RandomMutation(SeededRng* rng) {
  Mutation mutation;
  const auto id = static_cast<int64_t>(rng->Below(6) + 1);
  const std::string name(1, static_cast<char>('a' + rng->Below(3)));
  switch (rng->Below(8)) {
    case 0:
    case 1: {
      records::TrialRecord trial =
          Trial(id, static_cast<v1::Experiment::State>(1 + rng->Below(6)), 1 + static_cast<int32_t>(rng->Below(9)));
      for (uint64_t i = rng->Below(3); i > 0; --i) AddCheckpoint(&trial, std::string(1, 'a' + rng->Below(5)));
      const uint64_t num_ranks = rng->Below(3);
      for (uint64_t r = 0; r < num_ranks; ++r) {
        AddRank(&trial, static_cast<int64_t>(1 + rng->Below(2)), static_cast<int32_t>(id * 10 + r), rng->Below(2));
      }
      mutation.Put(std::move(trial));
      break;
    }
    case 2:
      mutation.Delete<records::TrialRecord>({id, 1});
      break;
    case 3: {
      records::AuxTaskRecord task;
      task.set_id(id);
      task.set_worker_id(static_cast<int64_t>(rng->Below(3)));
      task.set_slot(rng->Below(2) ? static_cast<int32_t>(100 + id) : -1);
      task.mutable_assignment()->mutable_evaluate()->set_examples_hash(name);
      mutation.Put(std::move(task));
      break;
    }
    case 4:
      mutation.Delete<records::AuxTaskRecord>(id);
      break;
    case 5: {
      records::RequestRecord request;
      request.set_actor("admin");
      request.set_request_id(name);
      request.mutable_time()->set_seconds(id);
      mutation.Put(std::move(request));
      break;
    }
    case 6: {
      records::ComparisonRecord comparison;
      comparison.set_id(id);
      comparison.mutable_comparison()->set_candidate(name);
      comparison.mutable_comparison()->set_baseline("z");
      mutation.Put(std::move(comparison));
      break;
    }
    default: {
      records::TokenRecord token;
      token.set_name(name);
      token.set_hash(name + std::to_string(id));
      mutation.Put(std::move(token));
    }
  }
  mutation.Audit(records::AuditPayload());
  return mutation;
}

// Random puts and deletes: the state built step by step equals the one loaded from what is left.
TEST(StateTest, LoadingWhatIsStoredGivesTheSameState) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    SeededRng rng(seed);
    State state;
    Records stored;
    for (int step = 0; step < 60; ++step) {
      Mutation mutation = RandomMutation(&rng);
      state.ChainAudit(&mutation);
      stored.Add(mutation);
      StateTestPeer::Apply(&state, std::move(mutation));
      records::AuditHeadRecord head = state.audit_head();
      stored.Add(Mutation().Put(head));
    }
    ASSERT_EQ(state.DebugExport(), stored.Load().DebugExport()) << "seed " << seed;
  }
}

}  // namespace
}  // namespace ursa
