// The real `dipper` program on odd files: exit code, what is on stdout, what is on stderr.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

namespace dipper {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

struct Ran {
  int code = -1;
  std::string out;
  std::string err;
  bool Says(const std::string& part) const { return err.find(part) != std::string::npos; }
};

std::string ReadText(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

/// A folder of its own for each test, gone afterwards.
class CliTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "dipper_cli_XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }

  void Write(const std::string& name, const std::string& text) {
    std::ofstream out(folder_ / name, std::ios::binary);
    out << text;
  }

  Ran Dipper(const std::string& arguments) {
    const std::string command = "cd '" + folder_.string() + "' && NO_COLOR= '" DIPPER_PROGRAM "' " +
                                arguments + " > .out 2> .err < /dev/null";
    const int status = std::system(command.c_str());
    EXPECT_TRUE(WIFEXITED(status)) << command;
    return {WEXITSTATUS(status), ReadText(folder_ / ".out"), ReadText(folder_ / ".err")};
  }

  /// Two numeric features, label class = (x > y).
  static std::string Csv(int rows, char separator = ',', const std::string& end = "\n") {
    std::ostringstream text;
    text << "x" << separator << "y" << separator << "class" << end;
    uint32_t state = 1;
    for (int i = 0; i < rows; ++i) {
      state = state * 1664525U + 1013904223U;
      const uint32_t x = (state >> 8U) % 100;
      const uint32_t y = (state >> 20U) % 100;
      text << x << separator << y << separator << (x > y ? 1 : 0) << end;
    }
    return text.str();
  }

  void MakeSpec(const std::string& learner = "linear") {
    Write("d.csv", Csv(500));
    const Ran init = Dipper("spec init --data d.csv --label class --learner " + learner);
    ASSERT_EQ(init.code, 0) << init.err;
    Write("s.toml", init.out);
  }

  fs::path folder_;
};

TEST_F(CliTest, SaysWhatItIs) {
  const Ran version = Dipper("--version");
  EXPECT_EQ(version.code, 0);
  EXPECT_TRUE(version.out.starts_with("dipper ")) << version.out;
  const Ran help = Dipper("--help");
  EXPECT_EQ(help.code, 0);
  for (const char* part : {"spec init", "eval", "train", "Exit codes"}) {
    EXPECT_NE(help.out.find(part), std::string::npos) << part;
  }
  EXPECT_EQ(Dipper("").code, 2);
  const Ran typo = Dipper("evl");
  EXPECT_EQ(typo.code, 2);
  EXPECT_TRUE(typo.Says("did you mean 'eval'?")) << typo.err;
  const Ran below = Dipper("spec inti");
  EXPECT_EQ(below.code, 2);
  EXPECT_TRUE(below.Says("there is no command 'spec inti'; did you mean 'init'?")) << below.err;
  const Ran option = Dipper("eval --spce s");
  EXPECT_EQ(option.code, 2);
  EXPECT_TRUE(option.Says("see dipper eval --help")) << option.err;
}

TEST_F(CliTest, AFirstResultTakesTwoCommands) {
  for (const char* learner : {"linear", "rls", "hoeffding_tree"}) {
    MakeSpec(learner);
    const Ran eval = Dipper("eval --spec s.toml --data d.csv --json");
    ASSERT_EQ(eval.code, 0) << eval.err;
    const Json json = Json::parse(eval.out);
    for (const char* key :
         {"n", "task", "accuracy", "kappa", "kappa_temporal", "auc", "trivial", "second_half", "worst_block",
          "ns_per_sample", "state_bytes", "peak_rss_bytes", "state_sha256", "drift_alarms"}) {
      EXPECT_TRUE(json.contains(key)) << key;
    }
    EXPECT_FALSE(json.contains("mae"));
    EXPECT_EQ(json["n"], 500);
    EXPECT_EQ(json["task"], "classification");
    EXPECT_GT(json["accuracy"], 0.75) << learner;
    EXPECT_GT(json["accuracy"], json["trivial"]["accuracy"]);
    EXPECT_GT(json["peak_rss_bytes"], json["state_bytes"]);
    EXPECT_EQ(json["state_sha256"].get<std::string>().size(), 64U);
    const Json again = Json::parse(Dipper("eval --spec s.toml --data d.csv --json").out);
    EXPECT_EQ(json["state_sha256"], again["state_sha256"]);
    const Ran text = Dipper("eval --spec s.toml --data d.csv");
    EXPECT_NE(text.out.find("TRIVIAL"), std::string::npos);
    EXPECT_FALSE(text.Says("not better than the trivial rival"));
  }
}

TEST_F(CliTest, EveryDialectGivesTheSameModel) {
  MakeSpec();
  const auto digest = [&](const std::string& text) {
    Write("v.csv", text);
    const Ran eval = Dipper("eval --spec s.toml --data v.csv --json");
    EXPECT_EQ(eval.code, 0) << eval.err;
    return Json::parse(eval.out)["state_sha256"].get<std::string>();
  };
  const std::string plain = digest(Csv(500));
  EXPECT_EQ(digest(Csv(500, ';')), plain);
  EXPECT_EQ(digest(Csv(500, ',', "\r\n")), plain);
  EXPECT_EQ(digest("\xEF\xBB\xBF" + Csv(500)), plain);
  std::string quoted = "\"x\",\"y\",\"class\"\n" + Csv(500).substr(10);
  EXPECT_EQ(digest(quoted), plain);
  EXPECT_NE(digest(Csv(499)), plain);
}

TEST_F(CliTest, FilesThatCannotBeUsed) {
  MakeSpec();
  const auto refused = [&](const std::string& text, int code, const std::string& says) {
    Write("bad.csv", text);
    for (const std::string command :
         {"eval --spec s.toml --data bad.csv", "spec init --data bad.csv --label class",
          "train --spec s.toml --data bad.csv --out m.dimg"}) {
      const Ran ran = Dipper(command);
      EXPECT_EQ(ran.code, code) << command;
      EXPECT_TRUE(ran.Says("dipper: error: ") && ran.Says(says)) << ran.err;
      EXPECT_TRUE(ran.out.empty()) << ran.out;
    }
    EXPECT_FALSE(fs::exists(folder_ / "m.dimg"));
  };
  refused("", 1, "is empty");
  refused("x,y,class\n", 1, "no usable row");
  refused("x,y,clas\n1,2,0\n", 3, "did you mean 'clas'?");
  refused("x,y,class\n1,2,0\n" + std::string((1U << 20U) + 1, '9') + "\n", 1,
          "bad.csv:3: the line is longer than 1 MiB");
  refused("x,x,class\n1,2,0\n", 1, "two columns are called 'x'");
  const Ran missing = Dipper("eval --spec s.toml --data nowhere.csv");
  EXPECT_EQ(missing.code, 3);
  EXPECT_TRUE(missing.Says("cannot read 'nowhere.csv': No such file")) << missing.err;
  EXPECT_EQ(Dipper("eval --spec nowhere.toml --data d.csv").code, 3);
  const Ran folder = Dipper("eval --spec s.toml --data .");
  EXPECT_EQ(folder.code, 1);
  EXPECT_TRUE(folder.Says("it is a folder")) << folder.err;
  const Ran label = Dipper("eval --spec s.toml --data d.csv --label klass");
  EXPECT_EQ(label.code, 3);
  EXPECT_TRUE(label.Says("did you mean 'class'?") && label.Says("x, y, class")) << label.err;
  Write("short.csv", "x,class\n1,0\n");
  const Ran feature = Dipper("eval --spec s.toml --data short.csv");
  EXPECT_EQ(feature.code, 3);
  EXPECT_TRUE(feature.Says("has no column 'y'")) << feature.err;
}

TEST_F(CliTest, BadRowsAreCountedAndTold) {
  MakeSpec();
  Write("odd.csv", Csv(50) + "1,2\n1,2,0,4\n\"1,2,0\n?,abc,1\n5,6,\n7,3,maybe\n");
  const Ran eval = Dipper("eval --spec s.toml --data odd.csv --json");
  ASSERT_EQ(eval.code, 0) << eval.err;
  const Json json = Json::parse(eval.out);
  EXPECT_EQ(json["n"], 53);
  EXPECT_EQ(json["skipped_rows"], 3);
  EXPECT_EQ(json["bad_cells"], 1);
  EXPECT_EQ(json["missing_cells"], 1);
  EXPECT_EQ(json["unlabelled_rows"], 1);
  EXPECT_EQ(json["unknown_labels"], 1);
  EXPECT_TRUE(eval.Says("odd.csv:52") && eval.Says("'maybe'")) << eval.err;
  const Ran train = Dipper("train --spec s.toml --data odd.csv --out m.dimg");
  EXPECT_EQ(train.code, 0);
  for (const char* part : {"warning: 3 rows were skipped", "odd.csv:52", "1 cells of numeric", "'maybe'"})
    EXPECT_TRUE(train.Says(part)) << train.err;
  const Ran explain = Dipper("explain s.toml odd.csv --last 1");
  EXPECT_TRUE(explain.Says("warning: 3 rows were skipped") && explain.Says("odd.csv:52")) << explain.err;
  const Ran init = Dipper("spec init --data odd.csv --label class");
  EXPECT_TRUE(init.Says("warning: 3 rows were skipped") && init.Says("odd.csv:52")) << init.err;
}

TEST_F(CliTest, WhatIsInAFileDoesNotReachTheTerminal) {
  MakeSpec();
  Write("head.csv", "x,\x1b[2Jy,class\n1,2,0\n");
  Write("cell.csv", Csv(50) + "1,2,\x1b]0;title\x07\n");
  for (const std::string command :
       {"spec init --data head.csv --label klass", "eval --spec s.toml --data cell.csv"}) {
    const Ran ran = Dipper(command);
    EXPECT_EQ(ran.err.find('\x1b'), std::string::npos) << command;
    EXPECT_TRUE(ran.Says("\\x1b")) << ran.err;
  }
}

TEST_F(CliTest, TextsCategoriesAndUnseenOnes) {
  std::string csv = "colour,size,class\n";
  for (int i = 0; i < 300; ++i) {
    const char* const colour = i % 3 == 0 ? "red" : i % 3 == 1 ? "green" : "\"dark, \"\"blue\"\"\"";
    csv += std::string(colour) + "," + std::to_string(i % 7) + "," +
           (i % 3 == 0   ? "stop"
            : i % 3 == 1 ? "go"
                         : "wait") +
           "\n";
  }
  Write("t.csv", csv);
  for (const char* learner : {"linear", "rls", "hoeffding_tree"}) {
    const Ran init = Dipper(std::string("spec init --data t.csv --label class --learner ") + learner);
    ASSERT_EQ(init.code, 0) << init.err;
    EXPECT_NE(init.out.find(R"(categories = ["dark, \"blue\"", "green", "red"])"), std::string::npos)
        << init.out;
    EXPECT_TRUE(init.Says("classification"));
    Write("t.toml", init.out);
    Write("u.csv", csv + "violet,3,stop\nred,3,explode\n");
    const Ran eval = Dipper("eval --spec t.toml --data u.csv --json");
    ASSERT_EQ(eval.code, 0) << eval.err;
    const Json json = Json::parse(eval.out);
    EXPECT_EQ(json["n"], 302);
    EXPECT_EQ(json["unseen_cells"], 1);
    EXPECT_EQ(json["other_labels"], 1);
    EXPECT_GT(json["accuracy"], 0.8) << learner;
  }
}

TEST_F(CliTest, WarnsWhenTheTrivialRivalIsAsGood) {
  std::string csv = "x,class\n";
  for (int i = 0; i < 200; ++i) csv += std::to_string(i % 5) + "," + (i < 100 ? "0" : "1") + "\n";
  Write("c.csv", csv);
  Write("c.toml", Dipper("spec init --data c.csv --label class").out);
  const Ran eval = Dipper("eval --spec c.toml --data c.csv");
  EXPECT_EQ(eval.code, 0);
  EXPECT_TRUE(eval.Says("not better than the trivial rival")) << eval.err;
}

TEST_F(CliTest, LateLabelsAndSeeds) {
  MakeSpec();
  const Ran late = Dipper("eval --spec s.toml --data d.csv --label-delay 100 --json");
  ASSERT_EQ(late.code, 0) << late.err;
  EXPECT_TRUE(late.Says("pending.capacity raised from 64 to 101")) << late.err;
  const Ran prompt = Dipper("eval --spec s.toml --data d.csv --json");
  EXPECT_LT(Json::parse(late.out)["accuracy"], Json::parse(prompt.out)["accuracy"]);
  const Ran seeded = Dipper("eval --spec s.toml --data d.csv --seed 9 --json");
  EXPECT_EQ(Json::parse(seeded.out)["seed"], 9);
  EXPECT_NE(Json::parse(seeded.out)["state_sha256"], Json::parse(prompt.out)["state_sha256"]);
  EXPECT_EQ(Dipper("eval --spec s.toml --data d.csv --label-delay 70000").code, 2);
  EXPECT_EQ(Dipper("eval --spec s.toml --data d.csv --label-delay -1").code, 2);
  EXPECT_EQ(Dipper("eval --spec s.toml --data d.csv --label-delay 18446744073709551615").code, 2);
  EXPECT_EQ(Dipper("eval --spec s.toml --data d.csv --seed -1").code, 2);
}

TEST_F(CliTest, RegressionAndForecast) {
  std::string csv = "t,wave,rain,odd\n";
  for (int i = 0; i < 400; ++i) {
    const int wave = (i * 37) % 100;
    csv += std::to_string(i % 24) + "," + std::to_string(wave) + ".5," + std::to_string(2 * wave + i % 24) +
           ".25,0\n";
  }
  Write("r.csv", csv);
  const Ran init = Dipper("spec init --data r.csv --label rain --learner rls");
  ASSERT_EQ(init.code, 0) << init.err;
  EXPECT_TRUE(init.Says("task: regression")) << init.err;
  Write("r.toml", init.out);
  const Json json = Json::parse(Dipper("eval --spec r.toml --data r.csv --json").out);
  EXPECT_EQ(json["task"], "regression");
  EXPECT_LT(json["mae"], json["trivial"]["mae"]);
  EXPECT_TRUE(json.contains("rmse"));
  EXPECT_FALSE(json.contains("accuracy"));
  const Ran forecast = Dipper("spec init --data r.csv --label odd --feature wave --ahead 2 --learner rls");
  ASSERT_EQ(forecast.code, 0) << forecast.err;
  Write("f.toml", forecast.out);
  const Json ahead = Json::parse(Dipper("eval --spec f.toml --data r.csv --json").out);
  EXPECT_EQ(ahead["scored"], 398);
}

TEST_F(CliTest, AnImageReplacesNothingButAnImage) {
  MakeSpec();
  const std::string train = "train --spec s.toml --data d.csv --out ";
  const auto stays = [&](const std::string& name, int code, const std::string& says,
                         const std::string& more = "") {
    const std::string before = ReadText(folder_ / name);
    const Ran ran = Dipper(train + name + more);
    EXPECT_EQ(ran.code, code) << name;
    EXPECT_TRUE(ran.Says(says)) << ran.err;
    EXPECT_EQ(ReadText(folder_ / name), before) << name;
  };
  stays("d.csv", 2, "is the file that is read as d.csv");
  stays("d.csv", 2, "is the file that is read as d.csv", " --force");
  fs::create_symlink("d.csv", folder_ / "link.csv");
  stays("link.csv", 2, "is the file that is read as d.csv");
  Write("notes.txt", "do not lose\n");
  stays("notes.txt", 4, "replace it with --force");
  Write("root.key", "-----BEGIN PRIVATE KEY-----\nMIG\n-----END PRIVATE KEY-----\n");
  stays("root.key", 2, "private key");
  stays("root.key", 2, "private key", " --force");
  fs::create_directory(folder_ / "folder");
  EXPECT_TRUE(Dipper(train + "folder").Says("is a folder; name a file in it"));
  EXPECT_TRUE(Dipper(train + "/dev/null").Says("is a device"));
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
  EXPECT_EQ(Dipper(train + "notes.txt --force").code, 0);
  EXPECT_EQ(Dipper(train + "notes.txt").code, 0) << "an image over an image";
  Write("empty", "");
  EXPECT_EQ(Dipper(train + "empty").code, 0);
  EXPECT_TRUE(ReadText(folder_ / "empty").starts_with("DIMG"));
}

TEST_F(CliTest, SpecShowAndItsErrors) {
  MakeSpec();
  const Ran show = Dipper("spec show s.toml --json");
  ASSERT_EQ(show.code, 0) << show.err;
  const Json json = Json::parse(show.out);
  uint64_t sum = 0;
  for (const Json& part : json["parts"]) sum += part["bytes"].get<uint64_t>();
  EXPECT_EQ(sum, json["state_bytes"]);
  // What is shown is a spec again, and the same.
  Write("again.toml", Dipper("spec show s.toml").out);
  EXPECT_EQ(Json::parse(Dipper("spec show again.toml --json").out)["spec_sha256"], json["spec_sha256"]);
  Write("bad.toml", "format = 1\nmodel_id = \"m\"\ntsak = \"regression\"\n");
  const Ran bad = Dipper("spec show bad.toml");
  EXPECT_EQ(bad.code, 2);
  EXPECT_TRUE(bad.Says("bad.toml")) << bad.err;
  EXPECT_EQ(Dipper("spec init --data d.csv --label class --budget lots").code, 2);
  EXPECT_EQ(Dipper("spec init --data d.csv --label class --learner magic").code, 2);
  EXPECT_EQ(Dipper("spec init --data d.csv --label class --task magic").code, 2);
  EXPECT_EQ(Dipper("spec init --data d.csv").code, 2);
}

TEST_F(CliTest, TrainWritesAnImage) {
  MakeSpec();
  const Ran train = Dipper("train --spec s.toml --data d.csv --out m.dimg --rows 100:300 --json");
  ASSERT_EQ(train.code, 0) << train.err;
  const Json json = Json::parse(train.out);
  EXPECT_EQ(json["labels"], 200);
  EXPECT_EQ(json["first_row"], 100);
  EXPECT_EQ(fs::file_size(folder_ / "m.dimg"), json["image_bytes"].get<uint64_t>() + 128);
  EXPECT_TRUE(ReadText(folder_ / "m.dimg").starts_with("DIMG"));
  EXPECT_EQ(Dipper("train --spec s.toml --data d.csv --out m.dimg --rows 5").code, 2);
  EXPECT_EQ(Dipper("train --spec s.toml --data d.csv --out m.dimg --rows 600:").code, 2);
  const Ran below = Dipper("train --spec s.toml --data d.csv --out m.dimg --rows 900:1000");
  EXPECT_TRUE(below.Says("--rows 900:1000 selects nothing; 'd.csv' has 500 usable rows")) << below.err;
  const Ran unwritable = Dipper("train --spec s.toml --data d.csv --out no/such/folder.dimg");
  EXPECT_EQ(unwritable.code, 3);
  EXPECT_TRUE(unwritable.Says("cannot write")) << unwritable.err;
}

}  // namespace
}  // namespace dipper
