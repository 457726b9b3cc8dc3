// JSON, safetensors and torch pickles: golden files, round trips, and hostile bytes.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>

#include "base/file.h"
#include "worker/nn/golden_testing.h"
#include "worker/nn/json.h"
#include "worker/nn/safetensors.h"
#include "worker/nn/state_dict_reader.h"

namespace ursa {
namespace {

std::string ReadGoldenBytes(const std::string& name) {
  auto bytes = ReadFile(GoldenPath(name));
  EXPECT_TRUE(bytes.ok()) << bytes.status();
  return bytes.ok() ? *bytes : "";
}

std::string WithHeader(const std::string& header, const std::string& data) {
  const uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), 8) + header + data;
}

void ExpectExample(const NamedTensors& tensors) {
  const Json golden = ReadGolden("vision_models.json");
  for (const Json& item : golden["cases"].array()) {
    if (item["kind"].string() != "safetensors_example") continue;
    ASSERT_EQ(tensors.size(), item["values"].size());
    for (const auto& [name, value] : item["values"].members()) {
      SCOPED_TRACE(name);
      const auto found = std::find_if(tensors.begin(), tensors.end(),
                                      [&name = name](const NamedTensor& tensor) { return tensor.name == name; });
      ASSERT_NE(found, tensors.end());
      if (name == "bool") {
        EXPECT_TRUE(found->tensor[0].item<bool>());
        EXPECT_FALSE(found->tensor[1].item<bool>());
      } else if (name == "empty") {
        EXPECT_EQ(found->tensor.sizes(), at::IntArrayRef({0, 3}));
      } else {
        const at::Tensor expected = GoldenTensor(value);
        EXPECT_EQ(found->tensor.sizes(), expected.sizes());
        EXPECT_TRUE(at::equal(found->tensor.to(at::kDouble), expected)) << found->tensor;
      }
    }
  }
}

TEST(JsonTest, Values) {
  const auto json = Json::Parse(R"( {"a": [1, -2.5e1, true, null], "b\u00e9\ud83d\ude00\n": {"c": "x"}} )");
  ASSERT_TRUE(json.ok()) << json.status();
  EXPECT_EQ((*json)["a"][1].number(), -25);
  EXPECT_EQ((*json)["b\xc3\xa9\xf0\x9f\x98\x80\n"]["c"].string(), "x");
  uint64_t big = 0;
  EXPECT_TRUE(Json::Parse("18446744073709551615")->AsUint64(&big));
  EXPECT_EQ(big, ~uint64_t{0});
  EXPECT_FALSE(Json::Parse("1.0")->AsUint64(&big));
}

TEST(JsonTest, Errors) {
  for (const char* text : {"", "{", "[1,]", "01", "+1", "1.", "{\"a\":1,\"a\":2}", "\"\\x\"", "\"\\ud800\"", "nul",
                           "1 2", "\"\n\"", "[1 2]", "{1:2}", "1e999", "-"}) {
    EXPECT_EQ(Json::Parse(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
  EXPECT_FALSE(Json::Parse(std::string(100'000, '[')).ok());
}

TEST(SafetensorsTest, GoldenExampleReadsAndWritesTheSameBytes) {
  const std::string bytes = ReadGoldenBytes("safetensors_example.safetensors");
  const auto contents = ParseSafetensors(bytes);
  ASSERT_TRUE(contents.ok()) << contents.status();
  EXPECT_EQ(contents->metadata.at("format"), "pt");
  ExpectExample(contents->tensors);
  const auto again = SerializeSafetensors(contents->tensors, contents->metadata);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(*again, bytes);
}

TEST(SafetensorsTest, OrderAndMemoryFormatDoNotChangeTheBytes) {
  const at::Tensor images = at::arange(2 * 3 * 4 * 5).to(at::kFloat).reshape({2, 3, 4, 5});
  const at::Tensor other = at::arange(3);
  const auto a = SerializeSafetensors({{"x", images}, {"y", other}});
  const auto b = SerializeSafetensors({{"y", other}, {"x", images.contiguous(at::MemoryFormat::ChannelsLast)}});
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_EQ(*a, *b);
  EXPECT_FALSE(SerializeSafetensors({{"x", images}, {"x", other}}).ok());
  EXPECT_FALSE(SerializeSafetensors({{"__metadata__", other}}).ok());
  EXPECT_FALSE(SerializeSafetensors({{"x", at::zeros({1}, at::kComplexFloat)}}).ok());
}

TEST(SafetensorsTest, Hostile) {
  const std::string four(4, '\0');
  const std::pair<const char*, std::string> cases[] = {
      {"empty file", ""},
      {"short", "abc"},
      {"header beyond the end", WithHeader("{}", "").substr(0, 9)},
      {"no object", WithHeader("[]", "")},
      {"trailing bytes", WithHeader("{}", "x")},
      {"unknown type", WithHeader(R"({"a":{"dtype":"F8","shape":[1],"data_offsets":[0,4]}})", four)},
      {"wrong length", WithHeader(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", four)},
      {"negative extent", WithHeader(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", four)},
      {"beyond the end", WithHeader(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", four)},
      {"backwards", WithHeader(R"({"a":{"dtype":"F32","shape":[0],"data_offsets":[4,0]}})", four)},
      {"overlap", WithHeader(R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},)"
                             R"("b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}})",
                             four)},
      {"gap", WithHeader(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                         R"("b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}})",
                         four)},
      {"repeated name", WithHeader(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                                   R"("a":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}})",
                                   four)},
      {"extra member", WithHeader(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4],"z":1}})", four)},
      {"overflow",
       WithHeader(R"({"a":{"dtype":"F32","shape":[281474976710656,281474976710656],"data_offsets":[0,4]}})", four)},
      {"metadata of numbers", WithHeader(R"({"__metadata__":{"a":1}})", "")},
  };
  for (const auto& [name, bytes] : cases) {
    EXPECT_EQ(ParseSafetensors(bytes).status().code(), absl::StatusCode::kDataLoss) << name;
  }
  EXPECT_EQ(ParseSafetensors(std::string(16, '\x7f')).status().code(), absl::StatusCode::kResourceExhausted);
  const std::string good = ReadGoldenBytes("safetensors_example.safetensors");
  for (size_t length = 0; length < good.size(); ++length) {
    EXPECT_FALSE(ParseSafetensors(good.substr(0, length)).ok()) << length;
  }
}

TEST(StateDictTest, GoldenZip) {
  const auto tensors = ReadStateDict(ReadGoldenBytes("state_dict_example.pth"));
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  ExpectExample(*tensors);
}

TEST(StateDictTest, GoldenWithOptimizer) {
  const std::string bytes = ReadGoldenBytes("state_dict_with_opt_example.pth");
  StateDictOptions options;
  options.key = "model";
  const auto tensors = ReadStateDict(bytes, options);
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  EXPECT_FALSE(tensors->empty());
  EXPECT_EQ(ReadStateDict(bytes).status().code(), absl::StatusCode::kInvalidArgument);
  options.key = "nothing";
  EXPECT_EQ(ReadStateDict(bytes, options).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(StateDictTest, LegacyWeights) {
  const auto tensors = ReadWeightsFile(std::getenv("URSA_WEIGHTS"));
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  EXPECT_EQ(tensors->size(), 296u);
  int64_t num_parameters = 0;
  for (const NamedTensor& tensor : *tensors) {
    if (tensor.name.find("running_") == std::string::npos && tensor.name.find("num_batches") == std::string::npos) {
      num_parameters += tensor.tensor.numel();
    }
  }
  EXPECT_EQ(num_parameters, 4'652'008);
}

TEST(StateDictTest, TruncatedOrChanged) {
  const std::string zip = ReadGoldenBytes("state_dict_example.pth");
  for (size_t length = 0; length < zip.size(); length += 7) {
    EXPECT_FALSE(ReadStateDict(zip.substr(0, length)).ok()) << length;
  }
  // No byte may crash the reader; most are covered by a checksum or a bound.
  int num_refused = 0;
  for (size_t i = 0; i < zip.size(); ++i) {
    std::string bytes = zip;
    bytes[i] = static_cast<char>(bytes[i] ^ 0x55);
    num_refused += ReadStateDict(bytes).ok() ? 0 : 1;
  }
  EXPECT_GT(num_refused, 1000);
}

TEST(StateDictTest, HostilePickles) {
  const std::string header("\x80\x02", 2);
  const std::pair<const char*, std::string> cases[] = {
      {"calls the shell", header + "cos\nsystem\nX\x02\x00\x00\x00ls\x85R."},
      {"builtins", header + "c__builtin__\neval\n."},
      {"a number", header + "K\x01."},
      {"underflow", header + "R."},
      {"no stop", header},
      {"instance operation", header + "(icollections\nOrderedDict\n."},
      {"deep", header + std::string(100'000, ']') + std::string(99'999, 'a') + "."},
      {"cycle", header + "]q\x01h\x01" + "a."},
      {"long text", header + "X\xff\xff\xff\xff" + "a."},
  };
  for (const auto& [name, bytes] : cases) {
    EXPECT_FALSE(ReadStateDict(bytes).ok()) << name;
  }
  EXPECT_EQ(ReadStateDict(cases[0].second).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace ursa
