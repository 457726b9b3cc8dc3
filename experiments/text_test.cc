// Textproto with errors for people, single fields by path, canonical text.
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "experiments/textproto.h"
#include "gmock/gmock.h"
#include "google/protobuf/util/message_differencer.h"
#include "gtest/gtest.h"
#include "ursa/v1/recipe.pb.h"
#include "ursa/v1/registry.pb.h"

namespace ursa {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string ParseErrorOf(const std::string& text) {
  v1::ExperimentSpec spec;
  const absl::Status status = ParseTextproto("r.textproto", text, &spec);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
  return std::string(status.message());
}

TEST(ParseTextprotoTest, ReadsARecipe) {
  v1::ExperimentSpec spec;
  ASSERT_TRUE(
      ParseTextproto("r", "# a comment\nname: \"x\" train { fine_tune { epochs: 4 } metrics: [\"accuracy\"] }", &spec)
          .ok());
  EXPECT_EQ(spec.train().fine_tune().epochs(), 4);
  EXPECT_EQ(spec.train().metrics(0), "accuracy");
}

TEST(ParseTextprotoTest, UnknownFieldIsNamedWithPlaceAndHint) {
  EXPECT_EQ(ParseErrorOf("name: \"x\"\ntrain {\n  fine_tuna { epochs: 4 }\n}\n"),
            "r.textproto:3:3: unknown field \"fine_tuna\" in \"train\" (hint: fine_tune?)");
  EXPECT_EQ(ParseErrorOf("\tseeed: 3"), "r.textproto:1:2: unknown field \"seeed\" (hint: seed?)");
  // The brace may stand on the next line, where the parser notices.
  EXPECT_THAT(ParseErrorOf("trian\n{ }"), StartsWith("r.textproto:1:1: unknown field \"trian\" (hint: train?)"));
}

TEST(ParseTextprotoTest, UnknownFieldWithoutANearOneListsAll) {
  EXPECT_EQ(
      ParseErrorOf("checkpoint { frequency: 3 }"),
      "r.textproto:1:14: unknown field \"frequency\" in \"checkpoint\"; allowed: every_steps, keep_best, keep_latest, "
      "best_metric");
  EXPECT_THAT(ParseErrorOf("data { batch_transforms { aug_transforms { max_turn: 3 } } }"),
              HasSubstr("in \"data.batch_transforms.aug_transforms\""));
}

TEST(ParseTextprotoTest, OtherMistakesHaveAPlace) {
  EXPECT_THAT(ParseErrorOf("name: \"x\"\nseed: many"), StartsWith("r.textproto:2:7: "));
  EXPECT_THAT(ParseErrorOf("name: \"x"), StartsWith("r.textproto:1:"));
  EXPECT_THAT(ParseErrorOf("train {"), StartsWith("r.textproto:1:"));
  EXPECT_THAT(ParseErrorOf("seed: 1\nseed: 2"), HasSubstr("specified multiple times"));
  EXPECT_THAT(ParseErrorOf("data { item_transforms { resize { size: 8 } random_resized_crop { size: 8 } } }"),
              HasSubstr("oneof"));
  EXPECT_THAT(ParseErrorOf(std::string(kTextprotoBytesMax + 1, ' ')), HasSubstr("1048577 bytes, at most 1048576"));
}

TEST(ParseTextprotoTest, AnErrorLeavesTheMessageAlone) {
  v1::ExperimentSpec spec;
  spec.set_name("before");
  EXPECT_FALSE(ParseTextproto("r", "name: \"after\" bad: 1", &spec).ok());
  EXPECT_EQ(spec.name(), "before");
}

v1::ExperimentSpec Base() {
  v1::ExperimentSpec spec;
  EXPECT_TRUE(ParseTextproto("base",
                             "name: \"x\" seed: 3 data { item_transforms { resize { size: 64 } } }"
                             "train { fine_tune { epochs: 4 } metrics: [\"error_rate\", \"accuracy\"] }",
                             &spec)
                  .ok());
  return spec;
}

v1::ExperimentSpec After(const std::string& assignment) {
  v1::ExperimentSpec spec = Base();
  const absl::Status status = SetField(assignment, &spec);
  EXPECT_TRUE(status.ok()) << status;
  return spec;
}

TEST(SetFieldTest, Scalars) {
  EXPECT_EQ(After("train.fine_tune.epochs=1").train().fine_tune().epochs(), 1);
  EXPECT_EQ(After("seed=0").seed(), 0);
  EXPECT_TRUE(After("seed=0").has_seed());
  EXPECT_EQ(After(" train.fine_tune.base_lr = 5e-3 ").train().fine_tune().base_lr(), 5e-3);
  EXPECT_FALSE(After("train.train_bn=false").train().train_bn());
  EXPECT_EQ(After("train.fine_tune.epochs=1").name(), "x");
}

TEST(SetFieldTest, NumbersAreThoseOfTheParser) {
  for (const std::string literal : {"0",
                                    "-0",
                                    "7",
                                    "-7",
                                    "010",
                                    "0x10",
                                    "0.5",
                                    "-0.25",
                                    "00.5",
                                    "5.",
                                    ".5",
                                    "1e-05",
                                    "1e5",
                                    "1e400",
                                    "5e-324",
                                    "1-2",
                                    "1e",
                                    "1.5f",
                                    "9223372036854775807",
                                    "9223372036854775808",
                                    "2147483648",
                                    "1 2",
                                    "+1",
                                    "inf"}) {
    for (const std::string field : {"seed", "max_restarts"}) {
      v1::ExperimentSpec parsed;
      v1::ExperimentSpec set;
      const bool is_number = ParseTextproto("r", absl::StrCat(field, ": ", literal), &parsed).ok();
      EXPECT_EQ(SetField(absl::StrCat(field, "=", literal), &set).ok(), is_number) << field << " " << literal;
      EXPECT_EQ(set.SerializeAsString(), parsed.SerializeAsString()) << field << " " << literal;
    }
    v1::FineTune parsed;
    v1::FineTune set;
    const bool is_number = ParseTextproto("r", absl::StrCat("base_lr: ", literal), &parsed).ok();
    EXPECT_EQ(SetField(absl::StrCat("base_lr=", literal), &set).ok(), is_number) << literal;
    EXPECT_EQ(set.SerializeAsString(), parsed.SerializeAsString()) << literal;
  }
}

TEST(SetFieldTest, StringsWithAndWithoutQuotes) {
  EXPECT_EQ(After("dataset=polar").dataset(), "polar");
  EXPECT_EQ(After("dataset=\"polar\"").dataset(), "polar");
  EXPECT_EQ(After("dataset='polar'").dataset(), "polar");
  EXPECT_EQ(After("dataset=a=b \"c\"").dataset(), "a=b \"c\"");
  EXPECT_EQ(After("dataset=").dataset(), "");
}

TEST(SetFieldTest, MessagesAreMadeOnTheWay) {
  EXPECT_EQ(After("train.callbacks.early_stopping.patience=3").train().callbacks().early_stopping().patience(), 3);
}

TEST(SetFieldTest, AMemberOfAOneofReplacesTheOther) {
  const v1::ExperimentSpec spec = After("data.item_transforms.random_resized_crop.size=96");
  EXPECT_FALSE(spec.data().item_transforms().has_resize());
  EXPECT_EQ(spec.data().item_transforms().random_resized_crop().size(), 96);
}

TEST(SetFieldTest, Lists) {
  EXPECT_EQ(After("train.metrics=accuracy").train().metrics_size(), 1);
  EXPECT_EQ(After("train.metrics=[\"accuracy\"]").train().metrics(0), "accuracy");
  EXPECT_EQ(After("train.metrics=[]").train().metrics_size(), 0);
  const v1::ExperimentSpec replaced = After("train.metrics[0]=valid");
  EXPECT_EQ(replaced.train().metrics_size(), 2);
  EXPECT_EQ(replaced.train().metrics(0), "valid");
  EXPECT_EQ(replaced.train().metrics(1), "accuracy");
  EXPECT_EQ(After("train.metrics[2]=third").train().metrics(2), "third");
  EXPECT_EQ(After("data.batch_transforms.normalize.mean=[0.1, 0.2, 0.3]").data().batch_transforms().normalize().mean(2),
            0.3);
}

TEST(SetFieldTest, WholeMessages) {
  const v1::ExperimentSpec spec = After("train.fine_tune={epochs: 2 base_lr: 0.1}");
  EXPECT_EQ(spec.train().fine_tune().epochs(), 2);
  EXPECT_EQ(spec.train().metrics_size(), 2);
  EXPECT_FALSE(After("train.fine_tune={}").train().fine_tune().has_base_lr());
}

TEST(SetFieldTest, ElementsOfListsOfMessages) {
  v1::Gates gates;
  ASSERT_TRUE(SetField("gates[0].metric=accuracy", &gates).ok());
  ASSERT_TRUE(SetField("gates[0].confidence=0.9", &gates).ok());
  ASSERT_EQ(gates.gates_size(), 1);
  EXPECT_EQ(gates.gates(0).confidence(), 0.9);
  EXPECT_THAT(std::string(SetField("gates.metric=accuracy", &gates).message()), HasSubstr("expected gates[INDEX]"));
}

TEST(SetFieldTest, SaysWhatIsWrongAndChangesNothing) {
  const std::map<std::string, std::string> cases = {
      {"train.fine_tuna.epochs=1", "set train.fine_tuna.epochs: unknown field \"fine_tuna\" (hint: fine_tune?)"},
      {"checkpoint.frequency=1",
       "unknown field \"frequency\"; allowed: every_steps, keep_best, keep_latest, best_metric"},
      {"train.fine_tune.epochs=many", "set train.fine_tune.epochs: expected int32, got \"many\""},
      {"train.fine_tune.epochs=1.5", "expected int32, got \"1.5\""},
      {"train.fine_tune.epochs=99999999999", "expected int32"},
      {"train.fine_tune.epochs=", "expected int32, got \"\""},
      {"train.train_bn=perhaps", "expected bool"},
      {"train.fine_tune=4", "expected {FineTune fields}"},
      {"train.fine_tune={epoch: 4}", "unknown field \"epoch\" (hint: epochs?)"},
      {"seed.x=4", "\"seed\" is int64, it has no fields"},
      {"seed[0]=4", "\"seed\" is no list"},
      {"train.metrics[3]=accuracy", "index 3 of \"metrics\", which has 2 elements"},
      {"train.metrics[0]=[\"a\", \"b\"]", "expected one element"},
      {"train.metrics[x]=a", "is not FIELD[INDEX]"},
      {"train.metrics[1=a", "is not FIELD[INDEX]"},
      {"train..metrics=a", "empty part"},
      {"=4", "empty part"},
      {"seed", "expected PATH=VALUE"},
      // One assignment sets one field.
      {"seed=4 max_restarts: 9", "expected int64"},
      {"dataset=\"a\" name: \"b\"", "expected string"},
  };
  for (const auto& [assignment, expected] : cases) {
    v1::ExperimentSpec spec = Base();
    const absl::Status status = SetField(assignment, &spec);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << assignment;
    EXPECT_THAT(std::string(status.message()), HasSubstr(expected)) << assignment;
    EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(spec, Base())) << assignment;
  }
}

TEST(CanonicalTextTest, SaysEveryValueExactly) {
  v1::ExperimentSpec spec;
  spec.set_name("a;b");
  spec.set_seed(0);
  spec.mutable_train()->mutable_fine_tune()->set_base_lr(0.1);
  spec.mutable_train()->add_metrics("m");
  spec.mutable_train()->set_train_bn(false);
  EXPECT_EQ(CanonicalText(spec), "1=3:a;b;3=0;7={1={3=0x1.999999999999ap-4;};2=1:m;6=0;};");
}

TEST(CanonicalTextTest, DifferentMessagesDiffer) {
  v1::Normalize one;
  one.add_mean(0.5);
  v1::Normalize other;
  other.add_std(0.5);
  EXPECT_NE(CanonicalText(one), CanonicalText(other));
  v1::ExperimentSpec unset;
  v1::ExperimentSpec set;
  set.set_seed(0);
  EXPECT_NE(CanonicalText(unset), CanonicalText(set));
}

}  // namespace
}  // namespace ursa
