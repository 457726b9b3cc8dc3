#include "client/cli/proto_json.h"

#include <gtest/gtest.h>

#include <cmath>

#include "ursa/v1/comparisons.pb.h"
#include "ursa/v1/datasets.pb.h"
#include "ursa/v1/evaluations.pb.h"
#include "ursa/v1/experiments.pb.h"
#include "ursa/v1/registry.pb.h"

namespace ursa::cli {
namespace {

std::string Field(const google::protobuf::Message& message, const char* name) {
  const Json json = ToJson(message);
  const Json* field = json.Find(name);
  return field == nullptr ? "(no such field)" : field->Dump();
}

TEST(ProtoJsonTest, ZeroAndEmptyValuesArePrinted) {
  EXPECT_EQ(ToJson(v1::PromoteModelVersionResponse()).Dump(),
            R"({"model": "", "champion": 0, "previous": 0, "comparison_id": ""})");
  EXPECT_EQ(Field(v1::DatasetVersion(), "refused"), "[]");
  EXPECT_EQ(Field(v1::Experiment(), "metrics"), "{}");
  EXPECT_EQ(Field(v1::Experiment(), "spec"), "null");
}

TEST(ProtoJsonTest, SixtyFourBitNumbersAreNumbers) {
  v1::MetricPoint point;
  point.set_step(9007199254740993);  // does not fit a double
  point.set_value(0.25);
  EXPECT_EQ(ToJson(point).Dump(),
            R"({"name": "", "step": 9007199254740993, "epoch": 0, "value": 0.25, "spread": null})");
  point.set_value(std::nan(""));
  EXPECT_EQ(Field(point, "value"), "null");
}

TEST(ProtoJsonTest, StatesAreUpperCaseWithoutPrefix) {
  v1::Experiment experiment;
  EXPECT_EQ(Field(experiment, "state"), "\"\"");
  experiment.set_state(v1::Experiment::STATE_CANCELED);
  EXPECT_EQ(Field(experiment, "state"), "\"CANCELED\"");
}

TEST(ProtoJsonTest, VerdictsAreLowerCase) {
  v1::Comparison comparison;
  comparison.set_verdict(v1::VERDICT_NEED_MORE_DATA);
  comparison.set_state(v1::Comparison::STATE_COMPLETED);
  comparison.add_gates()->set_verdict(v1::VERDICT_PASS);
  EXPECT_EQ(Field(comparison, "verdict"), "\"need_more_data\"");
  EXPECT_EQ(Field(comparison, "state"), "\"COMPLETED\"");
  EXPECT_EQ(Field(comparison, "gates"), R"([{"name": "", "verdict": "pass", "why": ""}])");
}

TEST(ProtoJsonTest, MapsAreObjectsSortedByKey) {
  v1::Experiment experiment;
  (*experiment.mutable_metrics())["valid_loss"] = 0.5;
  (*experiment.mutable_metrics())["error_rate"] = 0;
  EXPECT_EQ(Field(experiment, "metrics"), R"({"error_rate": 0, "valid_loss": 0.5})");
  v1::Evaluation evaluation;
  (*evaluation.mutable_metrics())["accuracy"].set_low(0.25);
  EXPECT_EQ(Field(evaluation, "metrics"), R"({"accuracy": {"value": 0, "low": 0.25, "high": 0}})");
  v1::Model model;
  (*model.mutable_aliases())["champion"] = 2;
  EXPECT_EQ(Field(model, "aliases"), R"({"champion": 2})");
}

TEST(ProtoJsonTest, WrappersOfListsAreLists) {
  v1::Evaluation evaluation;
  v1::ConfusionRow* row = evaluation.add_confusion();
  row->add_counts(3);
  row->add_counts(0);
  evaluation.add_confusion();
  EXPECT_EQ(Field(evaluation, "confusion"), "[[3, 0], []]");
  v1::ModelGates gates;
  v1::Gate* gate = gates.mutable_gates()->add_gates();
  gate->set_metric("accuracy");
  gate->set_confidence(0.95);
  EXPECT_EQ(Field(gates, "gates"), R"([{"metric": "accuracy", "non_inferiority_margin": null, "confidence": 0.95}])");
}

TEST(ProtoJsonTest, AbsentMembersOfAOneofAreLeftOut) {
  v1::ExperimentSpec spec;
  spec.mutable_data()->mutable_item_transforms()->mutable_resize()->set_size(64);
  const Json json = ToJson(spec);
  const Json* transforms = json.Find("data")->Find("item_transforms");
  ASSERT_NE(transforms, nullptr);
  EXPECT_EQ(transforms->Dump(), R"({"resize": {"size": 64, "method": null, "pad_mode": null}})");
}

TEST(ProtoJsonTest, TimesAreText) {
  v1::Experiment experiment;
  EXPECT_EQ(Field(experiment, "create_time"), "null");
  experiment.mutable_create_time()->set_seconds(1700000000);
  experiment.mutable_create_time()->set_nanos(5'000'000);
  EXPECT_EQ(Field(experiment, "create_time"), "\"2023-11-14T22:13:20.005Z\"");
}

}  // namespace
}  // namespace ursa::cli
