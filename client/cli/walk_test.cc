#include "client/cli/walk.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace ursa::cli {
namespace {

class WalkTest : public ::testing::Test {
 protected:
  WalkTest() {
    std::string name = ::testing::TempDir() + "/walkXXXXXX";
    root_ = ::mkdtemp(name.data());
  }
  ~WalkTest() override { std::filesystem::remove_all(root_); }

  void Write(const std::string& source, const std::string& bytes = "x") {
    const std::filesystem::path path = root_ / source;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << bytes;
  }

  WalkResult Walk(bool ignore_root_files = false) {
    absl::StatusOr<WalkResult> result = WalkPictures(root_.string(), ignore_root_files);
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? *std::move(result) : WalkResult();
  }

  static std::vector<std::string> Sources(const WalkResult& result) {
    std::vector<std::string> sources;
    for (const FoundFile& file : result.files) sources.push_back(file.source);
    return sources;
  }

  std::filesystem::path root_;
};

// The tree of fastai's golden case `get_image_files`, with our fixed list of extensions: no svg, no heic.
TEST_F(WalkTest, FindsWhatFastaiFindsInBytewiseOrder) {
  for (const char* file : {"a.jpg", "b.PNG", ".hid.jpg", "c.txt", "d/e.jpeg", "d/.f/g.jpg", "h/i.webp", "h/j.bmp",
                           "h/k/l.gif", "m/n.jpg.bak", "noext", "o.tif", "p.svg", "q.jfif", "r.heic"})
    Write(file);
  const WalkResult all = Walk();
  EXPECT_EQ(Sources(all), (std::vector<std::string>{"a.jpg", "b.PNG", "d/e.jpeg", "h/i.webp", "h/j.bmp", "h/k/l.gif",
                                                    "o.tif", "q.jfif"}));
  EXPECT_EQ(all.num_ignored, 5);  // c.txt, m/n.jpg.bak, noext, p.svg, r.heic; not those with a dot in front
  const WalkResult folders = Walk(/*ignore_root_files=*/true);
  EXPECT_EQ(Sources(folders), (std::vector<std::string>{"d/e.jpeg", "h/i.webp", "h/j.bmp", "h/k/l.gif"}));
  EXPECT_EQ(folders.num_ignored, 9);
}

TEST_F(WalkTest, OrderIsThatOfTheWholePath) {
  for (const char* file : {"a/x.jpg", "a.b/x.jpg", "B/x.jpg", "a-/x.jpg"}) Write(file);
  EXPECT_EQ(Sources(Walk()), (std::vector<std::string>{"B/x.jpg", "a-/x.jpg", "a.b/x.jpg", "a/x.jpg"}));
}

TEST_F(WalkTest, FollowsLinksButEntersAFolderInsideItselfOnce) {
  Write("real/x.jpg", "12345");
  std::filesystem::create_directory_symlink(root_ / "real", root_ / "linked");
  std::filesystem::create_directory_symlink(root_, root_ / "real" / "loop");
  std::filesystem::create_symlink(root_ / "real" / "x.jpg", root_ / "real" / "y.jpg");
  const WalkResult result = Walk();
  EXPECT_EQ(Sources(result), (std::vector<std::string>{"linked/x.jpg", "linked/y.jpg", "real/x.jpg", "real/y.jpg"}));
  for (const FoundFile& file : result.files) {
    EXPECT_EQ(file.size, 5);
    EXPECT_EQ(file.refused, "");
  }
}

TEST_F(WalkTest, WhatCannotBeReadIsRefusedWithAReason) {
  Write("c/empty.jpg", "");
  std::filesystem::create_symlink("nowhere.jpg", root_ / "c" / "gone.jpg");
  ASSERT_EQ(::mkfifo((root_ / "c" / "pipe.jpg").c_str(), 0600), 0);
  const WalkResult result = Walk();
  ASSERT_EQ(Sources(result), (std::vector<std::string>{"c/empty.jpg", "c/gone.jpg", "c/pipe.jpg"}));
  EXPECT_EQ(result.files[0].refused, "is empty, has 0 bytes");
  EXPECT_NE(result.files[1].refused.find("No such file"), std::string::npos);
  EXPECT_EQ(result.files[2].refused, "is no regular file");
}

TEST_F(WalkTest, OddNamesAreShownInSafeUtf8AndStayDifferent) {
  Write("c/caf\xe9.jpg");
  Write("c/caf%E9.jpg");
  Write("c/b\xc3\xa4r.jpg");
  Write("c/a\nb.jpg");
  EXPECT_EQ(Sources(Walk()),
            (std::vector<std::string>{"c/a%0Ab.jpg", "c/b\xc3\xa4r.jpg", "c/caf%E9.jpg", "c/caf%E9.jpg~"}));
}

TEST_F(WalkTest, TheRootMustBeAFolder) {
  Write("a.jpg");
  EXPECT_TRUE(absl::IsFailedPrecondition(WalkPictures((root_ / "a.jpg").string(), false).status()));
  EXPECT_TRUE(absl::IsNotFound(WalkPictures((root_ / "nowhere").string(), false).status()));
}

TEST(PictureExtensionTest, TheTextAfterTheLastDotInAnyCase) {
  for (const char* yes : {"a.jpg", "A.JPG", "x.y.Webp", ".png", "d.txt/a.tiff"})
    EXPECT_TRUE(HasPictureExtension(yes)) << yes;
  for (const char* no : {"a", "a.", "jpg", "a.jpg.bak", "a.svg", "a.heic", "d.jpg/a", "a.jp"})
    EXPECT_FALSE(HasPictureExtension(no)) << no;
}

TEST(LabelRuleTest, ParentAndRegex) {
  const auto parent = LabelRule::Parse("parent");
  ASSERT_TRUE(parent.ok());
  EXPECT_TRUE(parent->is_parent());
  EXPECT_EQ(parent->LabelOf("train/teddy bear/1.jpg"), "teddy bear");
  // fastai's golden cases RegexLabeller.
  const auto name = LabelRule::Parse("regex:^(.*)_\\d+.jpg$");
  ASSERT_TRUE(name.ok());
  EXPECT_EQ(name->LabelOf("images/great_dane_12.jpg"), "great_dane");
  EXPECT_EQ(name->LabelOf("x_y_z_003.jpg"), "x_y_z");
  EXPECT_EQ(name->LabelOf("nothing.jpg"), std::nullopt);
  const auto path = LabelRule::Parse("regex:/([^/]+)_\\d+.jpg$");
  ASSERT_TRUE(path.ok());
  EXPECT_EQ(path->LabelOf("a/b_c_1.jpg"), "b_c");
  EXPECT_EQ(path->LabelOf("b_c_1.jpg"), "b_c");
}

TEST(LabelRuleTest, OtherRulesAreRefused) {
  for (const char* bad : {"", "child", "csv", "regex:", "regex:(", "regex:^x$"})
    EXPECT_TRUE(absl::IsInvalidArgument(LabelRule::Parse(bad).status())) << bad;
}

}  // namespace
}  // namespace ursa::cli
